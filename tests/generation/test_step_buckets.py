"""Sizes of recorded steps: room for what is asked, few of them, and never more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.generation.engine.buckets import READ, ROWS, SPARE, Bucket, bucket_of, covering, spare


@st.composite
def sizes(draw):
    slots, length = draw(st.integers(1, 512)), draw(st.integers(1, 4096))
    return draw(st.integers(1, slots)), draw(st.integers(1, length)), slots, length


@given(sizes())
def test_a_bucket_has_room_and_is_inside_the_cache(asked):
    rows, read, slots, length = asked
    bucket = bucket_of(*asked)
    assert rows <= bucket.rows <= slots
    assert read <= bucket.read <= length
    assert bucket.rows < 2 * rows
    assert bucket.rows < rows + ROWS
    assert bucket.read < read + READ


@given(sizes())
def test_what_fits_a_bucket_has_that_bucket(asked):
    """So that steps within one size share a recording, and there are few."""
    _, _, slots, length = asked
    bucket = bucket_of(*asked)
    assert bucket_of(bucket.rows, bucket.read, slots, length) == bucket


def test_all_buckets_of_a_cache_are_few():
    found = {bucket_of(rows, read, 256, 700) for rows in range(1, 257) for read in range(1, 701)}
    assert {bucket.rows for bucket in found} == {1, 2, 4, 8, 16, *range(32, 257, 32)}
    assert {bucket.read for bucket in found} == {128, 256, 384, 512, 640, 700}


BUCKETS = st.builds(Bucket, st.integers(1, 300), st.integers(1, 900))


@given(BUCKETS, st.lists(BUCKETS, max_size=9))
def test_the_smallest_that_covers(bucket, recorded):
    found = covering(bucket, recorded)
    usable = [
        one
        for one in recorded
        if one.rows >= bucket.rows
        and one.read >= bucket.read
        and one.rows * one.read <= SPARE * bucket.rows * bucket.read
    ]
    if found is None:
        assert usable == []
        assert spare(bucket, recorded) == 1
    else:
        assert found in usable
        assert all(found.rows * found.read <= one.rows * one.read for one in usable)
        assert 0 <= spare(bucket, recorded) <= 1 - 1 / SPARE
        assert (spare(bucket, recorded) == 0) == (bucket in recorded)


def test_a_bucket_covers_itself():
    assert covering(Bucket(4, 128), [Bucket(8, 128), Bucket(4, 128), Bucket(4, 256)]) == Bucket(4, 128)
