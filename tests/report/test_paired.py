"""Paired comparison of two cells: hand-computed values, and what must hold for any outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl.report.paired import pair


def cell(text: str) -> dict[str, bool | None]:
    return {str(i): {"1": True, "0": False, "?": None}[c] for i, c in enumerate(text)}


def test_by_hand():
    found = pair([cell("1111110000")], [cell("1100001000")])
    assert (found.n, found.dropped) == (10, 0)
    assert found.difference == pytest.approx(0.3)
    # Four prompts only in the first, one only in the second: 2 * (C(5,0) + C(5,1)) / 2^5
    assert found.p_value == pytest.approx(2 * (1 + 5) / 32)


def test_unscored_prompts_are_dropped_from_both_sides_and_counted():
    found = pair([cell("1?10")], [cell("01?0")])
    assert (found.n, found.dropped) == (2, 2)
    assert found.difference == pytest.approx(0.5)
    assert pair([cell("??")], [cell("11")]) is None


def test_a_prompt_missing_on_one_side_is_dropped():
    assert pair([cell("111")], [cell("11")]).n == 2


@pytest.mark.parametrize("n", [2, 5, 50])
def test_all_prompts_alike_differ_and_the_interval_has_a_width(n):
    found = pair([cell("0" * n)], [cell("1" * n)])
    low, high = found.interval()
    assert found.difference == -1
    assert low == -1
    assert high > -1 + 1.5 / (n + 4)


@pytest.mark.parametrize("text", ["0" * 50, "1" * 50])
def test_equal_cells_have_a_finite_interval_that_is_no_point(text):
    low, high = pair([cell(text)], [cell(text)]).interval()
    assert -0.1 < low < 0 < high < 0.1
    assert pair([cell(text)], [cell(text)]).p_value == 1.0
    over_runs = pair([cell(text)] * 3, [cell(text)] * 2).interval()
    assert -0.15 < over_runs[0] < 0 < over_runs[1] < 0.15


OUTCOMES = st.lists(st.tuples(st.sampled_from("01?"), st.sampled_from("01?")), min_size=1, max_size=40)


@settings(max_examples=30, deadline=None)
@given(OUTCOMES)
def test_swapping_the_cells_turns_the_sign_and_keeps_the_p_value(outcomes):
    first, second = (cell("".join(column)) for column in zip(*outcomes, strict=True))
    one, other = pair([first], [second]), pair([second], [first])
    if one is None:
        assert other is None
        return
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)
    low, high = one.interval()
    assert low - 1e-9 <= one.difference <= high + 1e-9


def test_several_seeds_widen_the_interval_and_raise_the_p_value():
    calm, wild = [cell("1" * 20 + "0" * 20)] * 3, [cell("1" * 40), cell("1" * 20 + "0" * 20), cell("0" * 40)]
    base = [cell("0" * 40)] * 3
    narrow, wide = pair(calm, base).interval(), pair(wild, base).interval()
    assert wide[1] - wide[0] > narrow[1] - narrow[0]
    assert pair(wild, base).p_value > pair(calm, base).p_value
