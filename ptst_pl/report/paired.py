"""Two cells on the same prompts, compared prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np

from ptst_pl.results.intervals import Difference, compare, paired_interval, side_of

Outcomes = Mapping[str, bool | None]  # prompt id -> what the judge found; None: unscored


@dataclass(frozen=True)
class Paired:
    """Rates of two cells over the prompts that all runs of both have scored.

    Attributes:
        first: runs x prompts, 1 where the outcome is true.
        second: the same of the other cell; the prompts are the same, the number of runs may differ.
        dropped: prompts left out because a run did not score them.
    """

    first: np.ndarray
    second: np.ndarray
    dropped: int

    @property
    def n(self) -> int:
        """Number of prompts."""
        return int(self.first.shape[1])

    @property
    def difference(self) -> float:
        """First rate minus second, each a mean over runs and prompts."""
        return float(self.first.mean() - self.second.mean())

    @property
    def single(self) -> bool:
        """Whether each cell is one run."""
        return len(self.first) == len(self.second) == 1

    @cached_property
    def _changes(self) -> tuple[int, int]:
        """Prompts with the outcome in the first run only, and in the second only."""
        return int((self.first > self.second).sum()), int((self.second > self.first).sum())

    @cached_property
    def p_value(self) -> float:
        """Two-sided: McNemar's exact test of two runs, or that of ``intervals.compare`` over several."""
        if not self.single:
            return self._over_runs(0.95).p_value
        more, fewer = self._changes
        return sign_test(more, more + fewer)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Of the difference: Tango's for two runs, which never collapses, or that of ``intervals.compare``."""
        if self.single:
            return paired_interval(*self._changes, self.n, confidence)
        found = self._over_runs(confidence)
        return found.low, found.high

    def _over_runs(self, confidence: float) -> Difference:
        first, second = (side_of([(int(run.sum()), self.n) for run in cell]) for cell in (self.first, self.second))
        return compare(first, second, confidence)


def sign_test(k: int, n: int) -> float:
    """Two-sided exact p-value of ``k`` of ``n`` under a fair coin; without scipy, which takes a second to load."""
    tail = sum(comb(n, i) for i in range(min(k, n - k) + 1))
    return min(1.0, float(2 * tail / 2**n))


def pair(first: Sequence[Outcomes], second: Sequence[Outcomes]) -> Paired | None:
    """Match two cells, each of one or more runs, by prompt; None where no prompt is scored by all.

    Args:
        first: the outcomes of each run of the first cell.
        second: the same of the other cell.
    """
    everything = [*first, *second]
    ids = sorted(set().union(*everything))
    kept = [i for i in ids if all(run.get(i) is not None for run in everything)]
    if not kept:
        return None
    first_rows, second_rows = ([[int(bool(run[i])) for i in kept] for run in cell] for cell in (first, second))
    return Paired(np.array(first_rows), np.array(second_rows), len(ids) - len(kept))
