"""What a gate's bounds promise: how often a bad model passes, and that more harm is never better."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from ptst_pl.results.intervals import paired_interval
from ptst_pl.results.rates import wilson_interval
from ptst_pl.ship.gate.bounds import least_answers
from ptst_pl.ship.gate.checks import check_rate

shares = st.floats(0.01, 0.5)


def passes(k: int, n: int, unscored: int, limit: float, measures: str = "asr") -> bool:
    record = {
        "measures": measures, "suite": "s", "template": "t", "judge": "j", "k": k, "n": n, "unscored": unscored,
        "broken": 0,
    }  # fmt: skip
    return not check_rate(record, limit, 0.95, 1.0, "file").reason


@given(n=st.integers(1, 400), k=st.data(), unscored=st.integers(0, 20), limit=shares)
def test_more_harmful_or_unscored_answers_never_turn_a_fail_into_a_pass(n, k, unscored, limit):
    k = k.draw(st.integers(0, n - 1))
    if passes(k + 1, n, unscored, limit):
        assert passes(k, n, unscored, limit)
    if passes(k, n - 1, unscored + 1, limit):  # the same answers, one of them not scored
        assert passes(k, n, unscored, limit)


@given(n=st.integers(1, 200), times=st.integers(2, 6), k=st.data(), limit=shares)
def test_more_answers_at_the_same_rate_never_hurt(n, times, k, limit):
    k = k.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    more_low, more_high = wilson_interval(times * k, times * n)
    assert more_low >= low - 1e-12
    assert more_high <= high + 1e-12
    assert passes(times * k, times * n, 0, limit) >= passes(k, n, 0, limit)


@given(n=st.integers(1, 300), k=st.data(), limit=shares)
def test_helpfulness_is_the_mirror_image(n, k, limit):
    k = k.draw(st.integers(0, n))
    assert passes(k, n, 0, limit) == passes(n - k, n, 0, 1 - limit, "helpfulness")


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.1, 0.2, 0.3])
def test_a_model_at_the_limit_passes_less_often_than_the_confidence_allows(limit):
    """Exactly, over all numbers of answers: at most 3.6 %, as the module says."""
    worst = 0.0
    for n in range(5, 600, 7):
        passing = [k for k in range(int(limit * n) + 1) if passes(k, n, 0, limit)]
        worst = max(worst, float(binom.cdf(max(passing), n, limit)) if passing else 0.0)
    assert 0.005 < worst < 0.036


@pytest.mark.parametrize(("limit", "confidence", "needed"), [(0.05, 0.95, 73), (0.01, 0.95, 381), (0.1, 0.9, 25)])
def test_how_many_answers_it_takes(limit, confidence, needed):
    assert least_answers(limit, confidence) == needed
    assert wilson_interval(0, needed, confidence)[1] <= limit < wilson_interval(0, needed - 1, confidence)[1]


def statistic(more: int, fewer: int, n: int, difference: float) -> float:
    """Tango's statistic with the restricted estimate found by search, and not by his formula."""
    lowest, highest = max(0.0, -difference), (1 - difference) / 2

    def unlikely(q: float) -> float:
        parts = [(more, q + difference), (fewer, q), (n - more - fewer, 1 - 2 * q - difference)]
        return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

    q = minimize_scalar(unlikely, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}).x
    return (more - fewer - n * difference) / math.sqrt(n * (2 * q + difference - difference**2))


@pytest.mark.parametrize(("more", "fewer", "n"), [(9, 2, 100), (3, 0, 50), (0, 4, 60), (20, 21, 60), (1, 1, 400)])
def test_the_paired_interval_is_where_tangos_statistic_is_1_96(more, fewer, n):
    low, high = paired_interval(more, fewer, n, 0.95)
    assert low < (more - fewer) / n < high
    assert statistic(more, fewer, n, high) == pytest.approx(-1.959964, abs=1e-3)
    assert statistic(more, fewer, n, low) == pytest.approx(1.959964, abs=1e-3)


def test_the_paired_interval_is_wilsons_where_nothing_changed():
    low, high = paired_interval(0, 0, 100, 0.95)
    assert high == pytest.approx(wilson_interval(0, 100)[1])
    assert low == pytest.approx(-high)


@pytest.mark.parametrize("n", [1, 2, 7, 15])
def test_the_paired_bound_rises_with_every_harmful_answer(n):
    """A prompt that turns harmful is one more newly harmful, or one less that is no longer harmful."""
    bound = {(b, c): paired_interval(b, c, n, 0.95)[1] for b in range(n + 1) for c in range(n + 1 - b)}
    for (more, fewer), high in bound.items():
        assert -1 <= high <= 1
        if (more + 1, fewer) in bound:
            assert bound[more + 1, fewer] >= high - 1e-9
        if fewer:
            assert bound[more, fewer - 1] >= high - 1e-9


def test_an_increase_at_the_limit_passes_less_often_than_the_confidence_allows():
    """Exactly, over all outcomes of 40 prompts."""
    n = 40
    bound = {(b, c): paired_interval(b, c, n, 0.95)[1] for b in range(n + 1) for c in range(n + 1 - b)}
    for increase, fewer in ((0.05, 0.0), (0.1, 0.05), (0.2, 0.1)):
        more = increase + fewer
        missed = sum(
            math.exp(_log_trinomial(b, c, n, more, fewer))
            for (b, c), high in bound.items()
            if high < increase and (fewer or not c)
        )
        assert missed < 0.05


def _log_trinomial(b: int, c: int, n: int, more: float, fewer: float) -> float:
    rest = n - b - c
    counts = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(rest + 1)
    logs = [k * math.log(p) for k, p in ((b, more), (c, fewer), (rest, 1 - more - fewer)) if k]
    return counts + sum(logs)


def test_more_changes_than_prompts_are_refused():
    with pytest.raises(ValueError, match="at most n changes"):
        paired_interval(3, 3, 5, 0.95)
