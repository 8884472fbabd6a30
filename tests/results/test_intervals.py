"""Intervals over runs: they hold the true rate as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.results.intervals import compare, holm, mean_interval, side_of
from ptst_pl.results.judge_accuracy import JudgeAccuracy
from ptst_pl.results.rates import wilson_interval

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_one_run_is_wilson():
    assert mean_interval([(3, 100)])[1:] == pytest.approx(wilson_interval(3, 100))


def test_runs_that_agree_add_nothing_and_never_collapse():
    assert mean_interval([(30, 100)] * 3)[1:] == pytest.approx(wilson_interval(30, 100))
    for k in (0, 100):
        low, high = mean_interval([(k, 100)] * 5)[1:]
        assert high - low > 0.03


def test_runs_that_differ_widen_it():
    assert mean_interval([(20, 100), (40, 100)])[2] > mean_interval([(30, 100)] * 2)[2] + 0.1


@given(runs=st.lists(counts, min_size=1, max_size=5))
def test_holds_the_mean_and_stays_a_share(runs):
    mean, low, high = mean_interval(runs)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1


@pytest.mark.parametrize("runs", [[], [(0, 0)], [(1, 2), (0, 0)]])
def test_without_answers(runs):
    with pytest.raises(ValueError, match="at least one run"):
        mean_interval(runs)


# Of the logit of a prompt: how much prompts differ. Answers to one prompt are much alike in all runs.
PROMPTS = 3.0
# (mean of the logit, its deviation over runs): true rates near 5 and 30 %, runs that differ by about 4 and 10 points.
SETTINGS = {"5 %, 4 points": (-5.4, 1.0), "30 %, 4 points": (-1.9, 0.35), "30 %, 10 points": (-1.9, 0.95)}


def runs_of(rng, mean, spread, seeds, n=100):
    """Counts of ``seeds`` runs on the same ``n`` prompts."""
    prompts = rng.normal(0, PROMPTS, n)
    shares = 1 / (1 + np.exp(-(mean + prompts + rng.normal(0, spread, (seeds, 1)))))
    return [(int((rng.random(n) < row).sum()), n) for row in shares]


def true_rate(mean, spread):
    rng = np.random.default_rng(0)
    logits = mean + rng.normal(0, PROMPTS, 400_000) + rng.normal(0, spread, 400_000)
    return float((1 / (1 + np.exp(-logits))).mean())


def test_coverage_over_seeds(capsys):
    """92 to 99 % in the mean over the settings, for 2, 3, 5 and 10 seeds."""
    rng, table = np.random.default_rng(7), {}
    for name, setting in SETTINGS.items():
        truth = true_rate(*setting)
        for seeds in (2, 3, 5, 10):
            found = (mean_interval(runs_of(rng, *setting, seeds))[1:] for _ in range(400))
            table[name, seeds] = sum(low <= truth <= high for low, high in found) / 400
    with capsys.disabled():
        print("\ncoverage", {key: f"{100 * value:.1f}" for key, value in table.items()}, end="")
    assert min(table.values()) >= 0.88
    for seeds in (2, 3, 5, 10):
        assert 0.92 <= sum(table[name, seeds] for name in SETTINGS) / len(SETTINGS) <= 0.995


def test_false_alarms_between_trainings_that_differ_in_their_seeds_alone():
    rng = np.random.default_rng(3)
    for seeds in (2, 3, 5):
        found = [
            compare(*(side_of(runs_of(rng, *SETTINGS["30 %, 4 points"], seeds)) for _ in range(2))) for _ in range(300)
        ]
        assert sum(one.p_value < 0.05 for one in found) / 300 <= 0.06


def test_holm_holds_the_error_of_the_family():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


class TestCorrectedRates:
    def test_a_perfect_judge_changes_hardly_anything(self):
        perfect = JudgeAccuracy(100_000, 100_000, 100_000, 100_000, "x")
        assert perfect.corrected(0.3, 0.22, 0.39, 0.95) == pytest.approx((0.3, 0.22, 0.39), abs=1e-3)

    def test_by_hand(self):
        """Sensitivity 0.9, specificity 0.8: (0.3 + 0.8 - 1) / 0.7."""
        judge = JudgeAccuracy(899, 998, 799, 998, "x")
        assert judge.corrected(0.3, 0.25, 0.36, 0.95)[0] == pytest.approx(0.1 / 0.7, abs=1e-3)
        assert judge.corrected(0.1, 0.05, 0.2, 0.95)[0] == 0.0

    @pytest.mark.parametrize("n", [10, 48, 500])
    def test_none_harmful_proves_no_more_than_the_answers_that_were_seen(self, n):
        low, high = wilson_interval(0, n)
        share, least, most = JudgeAccuracy(95, 100, 93, 100, "x").corrected(0.0, low, high, 0.95)
        assert (share, least) == (0.0, 0.0)
        assert most >= high

    def test_a_judge_that_guesses_corrects_nothing(self):
        assert JudgeAccuracy(50, 100, 40, 100, "x").corrected(0.3, 0.2, 0.4, 0.95) is None

    def test_coverage(self):
        rng, held = np.random.default_rng(11), 0
        for _ in range(600):
            judge = JudgeAccuracy(int(rng.binomial(200, 0.95)), 200, int(rng.binomial(150, 0.9)), 150, "x")
            k = int(rng.binomial(100, 0.2 * 0.95 + 0.8 * 0.1))
            low, high = judge.corrected(k / 100, *wilson_interval(k, 100), 0.95)[1:]
            held += low <= 0.2 <= high
        assert 0.93 <= held / 600 <= 0.985
