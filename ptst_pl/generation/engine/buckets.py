"""Sizes that decode steps are rounded up to, so that a few recorded steps cover all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# Up to here numbers of rows are powers of two, beyond it multiples: a row too many is the same work as one of ours.
ROWS = 32
READ = 128
# A recorded step may read so many times more than was needed: where launching takes longest, that is still faster.
SPARE = 4


class Bucket(NamedTuple):
    """A step's size: the first ``rows`` slots, and the first ``read`` tokens of each, the new one included."""

    rows: int
    read: int


def bucket_of(rows: int, read: int, slots: int, length: int) -> Bucket:
    """The smallest bucket with room for ``rows`` and ``read``.

    Args:
        rows: at least 1.
        read: at least 1.
        slots: most rows there can be.
        length: most tokens there can be.
    """
    most = 1 << (rows - 1).bit_length() if rows <= ROWS else -(-rows // ROWS) * ROWS
    return Bucket(min(most, slots), min(-(-read // READ) * READ, length))


def covering(bucket: Bucket, recorded: Iterable[Bucket]) -> Bucket | None:
    """The recorded bucket that does the work of ``bucket`` with the least to spare; none if all are too large."""
    limit = SPARE * bucket.rows * bucket.read
    enough = [
        one for one in recorded if one.rows >= bucket.rows and one.read >= bucket.read and one.rows * one.read <= limit
    ]
    return min(enough, key=lambda one: (one.rows * one.read, one), default=None)


def spare(bucket: Bucket, recorded: Iterable[Bucket]) -> float:
    """Share of a step's time that a recording of its own size would save, in [0, 1]; 1 if nothing covers it."""
    found = covering(bucket, recorded)
    return 1.0 if found is None else 1 - bucket.rows * bucket.read / (found.rows * found.read)
