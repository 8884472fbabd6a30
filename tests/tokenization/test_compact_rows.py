"""Rows in flat arrays are the rows that were put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.compact_rows import CompactRows, lengths_of


@st.composite
def encoded(draw):
    ids = draw(st.lists(st.integers(0, 2**31 - 1), max_size=8))
    labels = [draw(st.sampled_from([IGNORED, token])) for token in ids]
    return Encoded(ids, labels, draw(st.integers(0, len(ids))), draw(st.booleans()))


@given(st.lists(encoded(), max_size=6))
def test_what_goes_in_comes_out(rows):
    found = CompactRows(rows)
    assert list(found) == rows
    assert found == rows
    assert len(found) == len(rows)
    assert found.lengths == lengths_of(rows) == lengths_of(found)
    assert found[1:] == rows[1:]
    assert found[::-2] == rows[::-2]
    for place in range(-len(rows), len(rows)):
        assert found[place] == rows[place]


def test_differences_and_ends_are_seen():
    one, other = Encoded([1, 2], [IGNORED, 2], 1), Encoded([1, 2], [IGNORED, 2], 1, True)
    assert CompactRows([one]) != CompactRows([other])
    assert CompactRows([one]) != [one, one]
    with pytest.raises(IndexError):
        CompactRows([one])[1]
