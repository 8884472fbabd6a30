"""Whether two rates differ: against published figures, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from ptst_pl.results.intervals import Side, compare, holm
from ptst_pl.results.rates import wilson_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def side(k: int, n: int, **more) -> Side:
    return Side(k / n, n, **more)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((5, 56), (0, 29), -0.0381, 0.1926)],
)
def test_newcombes_own_examples(first, second, low, high):
    """Statistics in Medicine 17 (1998) 873, Table II, method 10."""
    found = compare(side(*first), side(*second))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(counts, counts)
def test_p_value_and_interval_agree(first, second):
    found = compare(side(*first), side(*second))
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert 0 <= found.p_value <= 1
    if abs(found.p_value - 0.05) > 1e-6:
        assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)
    turned = compare(side(*second), side(*first))
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    assert turned.p_value == pytest.approx(found.p_value)


def test_equal_rates_never_differ_also_at_zero():
    for k in (0, 3, 400):
        found = compare(side(k, 400), side(k, 400))
        assert found.p_value == pytest.approx(1)
        assert found.low < 0 < found.high
    assert compare(side(0, 400), side(0, 400)).high == pytest.approx(wilson_interval(0, 400)[1])


def test_runs_that_scatter_make_it_cautious():
    plain = compare(side(60, 400), side(40, 400))
    steady = compare(side(60, 400, runs=3, variance=1e-6), side(40, 400, runs=3, variance=1e-6))
    scattered = compare(side(60, 400, runs=3, variance=0.04**2), side(40, 400, runs=3, variance=0.04**2))
    assert plain.p_value == pytest.approx(steady.p_value, rel=0.01)
    assert plain.p_value < 0.05 < scattered.p_value
    one_known = compare(side(60, 400), side(40, 400, runs=3, variance=0.04**2))
    assert one_known.p_value > scattered.p_value, "a single run varies as the other side's do, and is not averaged"


@pytest.mark.parametrize("second", [[0.20, 0.25, 0.27], [0.29, 0.31], [0.33, 0.31, 0.36, 0.35, 0.30]])
def test_with_prompts_without_number_it_is_welchs_t_test_over_runs(second):
    first = [0.30, 0.32, 0.34]
    sides = [Side(float(np.mean(x)), 10**12, len(x), float(np.var(x, ddof=1))) for x in (first, second)]
    assert compare(*sides).p_value == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue, rel=1e-3)


def test_slack_of_a_value_read_off_a_plot_widens_both_ends():
    exact, read = compare(side(60, 400), side(30, 400)), compare(side(60, 400), side(30, 400), slack=0.005)
    assert (exact.low - read.low, read.high - exact.high) == (pytest.approx(0.005), pytest.approx(0.005))
    assert read.p_value > exact.p_value


def test_false_alarms_are_rare_where_nothing_differs():
    """Prompts of unequal difficulty, three runs a side whose rates scatter: at most 5 % of differences count."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(300):
        hard = rng.beta(0.3, 2.0, 400)
        sides = []
        for _ in range(2):
            runs = [(rng.random(400) < np.clip(hard * rng.normal(1, 0.15), 0, 1)).mean() for _ in range(3)]
            sides.append(Side(float(np.mean(runs)), 400, 3, float(np.var(runs, ddof=1))))
        alarms += compare(*sides).p_value < 0.05
    assert alarms <= 0.05 * 300


def test_holms_own_steps():
    assert holm([0.01, 0.04, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("wrong", [Side(0.1, 0), Side(1.1, 10), Side(-0.1, 10)])
def test_what_is_no_rate_is_refused(wrong):
    with pytest.raises(ValueError, match="need n above 0"):
        compare(wrong, side(1, 2))
