"""How many rows of an epoch each source gives, and in which order they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from ptst_pl import InputError
from ptst_pl.tasks.order import EpochOrder, shuffled

# How far the weights may be from 1 in all, for those that write a third as 0.333.
ROUNDING = Fraction(1, 100)


@dataclass(frozen=True)
class Amount:
    """What a source gives to an epoch: so many passes over its rows, or a share of the epoch's rows."""

    passes: float | None = None
    weight: float | None = None


def rows_per_epoch(
    names: Sequence[str], sizes: Sequence[int], amounts: Sequence[Amount], epoch_rows: int | None = None
) -> list[int]:
    """Rows that every source gives to each epoch.

    ``passes`` p of a source with n rows gives p n rows, halves rounded up. A ``weight`` is a share of
    the epoch's rows: the sources with passes fill what the weights leave over, so an epoch has
    (sum of p n) / (1 - sum of weights) rows. Where all sources have weights, these make 1 in all and
    an epoch has ``epoch_rows`` rows, or as many as the sources have in all. What is left after
    rounding down goes to the largest remainders, the first source first.

    Args:
        names: the K sources, for messages.
        sizes: rows there are of each.
        amounts: what each is to give.
        epoch_rows: rows of an epoch, only where all sources have weights.

    Raises:
        InputError: weights that leave no room or do not make 1, or a source that would give no row.
    """
    weights = {k: Fraction(str(a.weight)) for k, a in enumerate(amounts) if a.weight is not None}
    counts = [0 if a.passes is None else _half_up(Fraction(str(a.passes)) * sizes[k]) for k, a in enumerate(amounts)]
    all_weights, total = sum(weights.values(), Fraction(0)), sum(counts)
    if len(weights) == len(amounts):
        if abs(all_weights - 1) > ROUNDING:
            raise InputError(f"the weights make {float(all_weights):g} in all, expected 1: they are shares of an epoch")
        total = epoch_rows or sum(sizes)
    elif epoch_rows is not None:
        raise InputError("epoch_rows is for mixtures in which every source has a weight; passes give the length here")
    elif all_weights >= 1:
        raise InputError(
            f"the weights make {float(all_weights):g} in all and leave no room for the sources with passes"
        )
    else:
        total = _half_up(total / (1 - all_weights))
    for k, count in _apportion(total - sum(counts), weights).items():
        counts[k] = count
    for name, count in zip(names, counts, strict=True):
        if count == 0:
            raise InputError(f"source {name!r} would give no row to an epoch of {total} rows; give it more")
    return counts


def _half_up(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def _apportion(rows: int, weights: dict[int, Fraction]) -> dict[int, int]:
    """Largest remainders: whole rows in proportion to the weights, ``rows`` in all."""
    whole = sum(weights.values(), Fraction(0))
    exact = {k: rows * weight / whole for k, weight in weights.items()}
    counts = {k: math.floor(share) for k, share in exact.items()}
    by_remainder = sorted(exact, key=lambda k: (counts[k] - exact[k], k))
    for k in by_remainder[: rows - sum(counts.values())] if counts else []:
        counts[k] += 1
    return counts


class MixtureOrder(EpochOrder):
    """The row numbers of an epoch of several sources, a function of seed and epoch alone.

    Each source is gone through pass by pass, every pass in a new order, and goes on in the next epoch
    where the last one stopped, so that at any time some of its rows were seen once more than the others
    and none twice more.
    The sources take turns in a uniformly random arrangement.

    Args:
        sizes: rows of each of the K sources; the row numbers of source k follow those of source k - 1.
        counts: rows that each gives to an epoch.
        seed: of passes and arrangement.
    """

    def __init__(self, sizes: Sequence[int], counts: Sequence[int], seed: int) -> None:
        super().__init__(sum(counts), seed)
        self.sizes, self.counts = list(sizes), list(counts)

    @property
    def plan(self) -> list[list[int]]:
        """[rows there are, rows of one epoch] of every source."""
        return [[size, count] for size, count in zip(self.sizes, self.counts, strict=True)]

    def _turn(self, source: int) -> Iterator[int]:
        """This epoch's rows of one source, in their order."""
        size, count = self.sizes[source], self.counts[source]
        first, start = divmod(self.epoch * count, size)
        passes = range(first, first + -(-(start + count) // size))
        rows = [row for number in passes for row in shuffled(size, self.seed, number, source)]
        return iter(rows[start : start + count])

    def __iter__(self) -> Iterator[int]:
        kinds = range(len(self.sizes))
        labels = torch.repeat_interleave(torch.tensor(self.counts))
        arranged = labels[torch.tensor(shuffled(self.rows, self.seed, self.epoch, stream=len(kinds)))].tolist()
        turns = [self._turn(source) for source in kinds]
        starts = [sum(self.sizes[:source]) for source in kinds]
        return iter([starts[source] + next(turns[source]) for source in arranged])
