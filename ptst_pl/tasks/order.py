"""The order of an epoch's rows, and its batches: functions of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class EpochOrder(Sampler[int]):
    """All row numbers once, in an order that is a function of seed and epoch alone."""

    def __init__(self, rows: int, seed: int, shuffle: bool = True) -> None:
        self.rows, self.seed, self.shuffle = rows, seed, shuffle
        self.epoch = 0

    @property
    def plan(self) -> list[list[int]]:
        """What an epoch is made of: [rows there are, rows of one epoch] of every source."""
        return [[self.rows, self.rows]]

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(self.rows))
        return iter(shuffled(self.rows, self.seed, self.epoch))


def shuffled(count: int, seed: int, number: int, stream: int = 0) -> list[int]:
    """``range(count)`` in an order that is a function of seed, number and stream alone.

    Args:
        count: how many.
        seed: the run's seed.
        number: which shuffle: an epoch, or a pass over a source.
        stream: shuffles of different streams have nothing to do with each other.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number + stream * 1_000_003_000_033)
    return torch.randperm(count, generator=generator).tolist()


class EpochBatches(Sampler[list[int]]):
    """Batches of row numbers for one rank.

    The epoch's order is cut into global batches of ``batch_size * world_size`` and each of those
    into one slice per rank, so any number of ranks sees the same global batches and every row
    exactly once. In a short last batch a rank may get fewer rows, or none.

    Rows of one optimiser step are sorted by length before they are cut into micro-batches: less
    padding, and the same step, because its loss is the mean over all its tokens whatever the cut.

    Args:
        order: the epoch's order.
        batch_size: rows per rank and micro-batch.
        rank: this process.
        world_size: number of processes.
        lengths: length of every row in tokens; without it nothing is sorted.
        window: micro-batches per optimiser step.
    """

    def __init__(
        self,
        order: EpochOrder,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        lengths: Sequence[int] | None = None,
        window: int = 1,
    ) -> None:
        self.sampler = order
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.lengths, self.window = lengths, window
        self.skip = 0

    @property
    def rows_per_batch(self) -> int:
        """Rows of one batch over all ranks."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.rows_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: the order is drawn at the first batch, after Lightning has set the epoch.
        order = self._sorted_in_windows(list(self.sampler))
        step = self.rows_per_batch
        for start in range(self.skip * step, len(order), step):
            # Every world_size-th row: sorted rows then share their lengths out evenly over the ranks.
            yield order[start : start + step][self.rank :: self.world_size]

    def _sorted_in_windows(self, order: list[int]) -> list[int]:
        lengths = self.lengths
        if lengths is None:
            return order
        span = self.rows_per_batch * self.window
        windows = (order[start : start + span] for start in range(0, len(order), span))
        return [row for window in windows for row in sorted(window, key=lambda row: lengths[row])]
