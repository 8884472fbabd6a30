"""How far two judges agree: counts, Cohen's kappa with an interval, and detection against a reference.

A label is True (harmful, or refused), False, or None (unscored). A row is ``(group, first, second)``:
the labels of two judges on one answer, and what the answer belongs to. Answers to one prompt under
several templates or at several steps are no independent samples; they form one group, and the interval
resamples groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ptst_pl.results.rates import Rate

Label = bool | None
Row = tuple[tuple[str, ...], Label, Label]
LABELS: tuple[Label, ...] = (True, False, None)
RESAMPLES = 2000
# More resamples than this without a kappa (both judges constant) leave no honest interval.
_MAX_UNDEFINED = 0.05


@dataclass(frozen=True)
class Counts:
    """Answers that both judges scored: by what the first and by what the second says."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def n(self) -> int:
        """Answers that both scored."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def agreement(self) -> Rate:
        """Share of equal labels."""
        return Rate(self.both + self.neither, self.n)

    @property
    def constant(self) -> bool:
        """Whether one of the judges says the same of every answer; kappa is 0 then, or not defined."""
        return bool({0, self.n} & {self.both + self.only_first, self.both + self.only_second})

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: ``(p_o - p_e) / (1 - p_e)``; None where both judges always say the same one thing.

        Source: J. Cohen, Educational and Psychological Measurement 20 (1960).
        """
        expected = self._chance_agreement
        square = self.n * self.n
        return (self.n * (self.both + self.neither) - expected) / (square - expected) if square > expected else None

    @property
    def _chance_agreement(self) -> int:
        """``p_e`` times n squared."""
        first, second = self.both + self.only_first, self.both + self.only_second
        return first * second + (self.n - first) * (self.n - second)


def confusion(rows: Iterable[Row]) -> dict[tuple[Label, Label], int]:
    """Number of rows for each of the nine pairs of labels."""
    table = {(first, second): 0 for first in LABELS for second in LABELS}
    for _, first, second in rows:
        table[first, second] += 1
    return table


def count(rows: Iterable[Row]) -> Counts:
    """The rows that both judges scored."""
    table = confusion(rows)
    return Counts(table[True, True], table[True, False], table[False, True], table[False, False])


def kappa_interval(rows: Sequence[Row], confidence: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """Percentile bootstrap interval of kappa, over groups; the order of the rows does not matter.

    Returns:
        Low and high; None where the rows cannot tell: a judge that always says the same, no disagreement,
        one group, or resamples that often have no kappa.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row[1] is not None and row[2] is not None:
            groups[row[0]].append(row)
    counts = [count(groups[name]) for name in sorted(groups)]
    total = count(rows)
    if len(counts) < 2 or total.constant or total.agreement.k == total.n:
        return None
    table = np.array([(c.both, c.only_first, c.only_second, c.neither) for c in counts], dtype=np.int64)
    values = [Counts(*map(int, sums)).kappa for sums in _resampled(table, seed)]
    defined = [value for value in values if value is not None]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled(table: np.ndarray, seed: int) -> np.ndarray:
    """Sums over groups drawn with replacement. Shapes: (groups, 4) -> (RESAMPLES, 4)."""
    generator = np.random.default_rng(seed)
    size = len(table)
    return np.stack(
        [np.bincount(generator.integers(size, size=size), minlength=size) @ table for _ in range(RESAMPLES)]
    )


@dataclass(frozen=True)
class Detection:
    """A judge against a reference, over the answers that both scored.

    ``precision``: of what the judge flags, the share that the reference flags. ``recall``: of what the
    reference flags, the share that the judge flags. A rate with ``n = 0`` has no value.
    """

    precision: Rate
    recall: Rate
    accuracy: Rate
    unscored: int


def detection(rows: Sequence[Row]) -> Detection:
    """The first label against the second, which is the reference; ``unscored`` by either."""
    c = count(rows)
    return Detection(
        Rate(c.both, c.both + c.only_first), Rate(c.both, c.both + c.only_second), c.agreement, len(rows) - c.n
    )
