"""Rates and their intervals, against values worked out by hand and as properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl.results.rates import Rate, wilson_interval

counts = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.01, 0.999)
many = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # With z = 1.959964 and z^2 = 3.841459: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
        (3, 100, 0.0103, 0.0845),
        (0, 100, 0.0, 0.0370),
        (100, 100, 0.9630, 1.0),
        (50, 100, 0.4038, 0.5962),
        (1, 1, 0.2065, 1.0),
        (0, 400, 0.0, 0.0095),
        (520, 520, 0.9927, 1.0),
    ],
)
def test_wilson_by_hand(k, n, low, high):
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_scored_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert Rate(0, 0, unscored=5).value is None
    assert Rate(0, 0, unscored=5).interval() == (0.0, 1.0)


@many
@given(counts=counts, confidence=confidences)
def test_interval_holds_the_share_and_stays_within_0_and_1(counts, confidence):
    k, n = counts
    low, high = wilson_interval(k, n, confidence)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high
    assert math.isfinite(low + high)


@many
@given(counts=counts, times=st.integers(2, 50))
def test_more_answers_with_the_same_share_narrow_the_interval(counts, times):
    k, n = counts
    low, high = wilson_interval(k, n)
    closer_low, closer_high = wilson_interval(k * times, n * times)
    assert low <= closer_low
    assert closer_high <= high


@many
@given(counts=counts)
def test_interval_moves_with_the_count_and_mirrors(counts):
    k, n = counts
    low, high = wilson_interval(k, n)
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    if k < n:
        next_low, next_high = wilson_interval(k + 1, n)
        assert low <= next_low
        assert high <= next_high


@many
@given(counts=counts, confidence=confidences)
def test_more_confidence_is_wider(counts, confidence):
    inner, outer = wilson_interval(*counts, confidence), wilson_interval(*counts, (1 + confidence) / 2)
    assert outer[0] <= inner[0]
    assert inner[1] <= outer[1]


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, -1, 0.9), (1, 2, 0), (1, 2, 1)])
def test_impossible_counts(k, n, confidence):
    with pytest.raises(ValueError, match=f"got k={k}, n={n}"):
        wilson_interval(k, n, confidence)


@pytest.mark.parametrize("rate", [(2, 1, 0), (-1, 1, 0), (0, 1, -1)])
def test_impossible_rate(rate):
    with pytest.raises(ValueError, match="impossible rate"):
        Rate(*rate)


def test_rate():
    rate = Rate(3, 100, unscored=7)
    assert rate.value == 0.03
    assert rate.interval() == wilson_interval(3, 100)
