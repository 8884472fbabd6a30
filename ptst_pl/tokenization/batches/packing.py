"""Rows one behind the other in one batch: no padding, and what they have in front in common only once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches.batch import Batch, Sources, places_in_answers
from ptst_pl.tokenization.batches.layout import Segment, group_rows, lay_out


class PackRows:
    """Collate rows into one packed ``Batch``: no padding, and what rows have in front in common only once.

    Args:
        pad_id: the single token of a batch without rows.
        sources: where the rows come from, if they come from several sources.
        sharing: False computes every row alone.
    """

    def __init__(self, pad_id: int, sources: Sources | None = None, sharing: bool = True) -> None:
        self.pad_id, self.sources, self.sharing = pad_id, sources, sharing

    def __call__(self, items: Sequence[tuple[int, Encoded]]) -> Batch:
        """One batch from numbered rows."""
        rows = [row for _, row in items]
        pack = _Pack()
        for group in group_rows([row.input_ids for row in rows], [shareable(row) for row in rows], self.sharing):
            prefix = pack.add(rows[group.rows[0]], 0, group.shared) if group.shared else None
            for number in filter(lambda number: rows[number].input_ids, group.rows):
                pack.add(rows[number], group.shared, len(rows[number].input_ids), prefix, number)
        if not pack.segments:
            pack.add(Encoded([self.pad_id], [IGNORED], 1), 0, 1)
        sources = None
        if self.sources is not None:
            of_row = [self.sources.of_row[index] for index, _ in items]
            sources = torch.tensor([of_row[number] for number in pack.owners], dtype=torch.long)
        return Batch(
            torch.tensor([pack.ids]),
            None,
            torch.tensor(pack.positions, dtype=torch.long),
            torch.tensor(pack.targets, dtype=torch.long),
            torch.tensor(pack.in_answers, dtype=torch.long),
            [index for index, _ in items],
            sources,
            () if self.sources is None else self.sources.names,
            torch.tensor([pack.places]),
            lay_out(pack.segments),
        )


def shareable(row: Encoded) -> int:
    """First tokens that a row may share: those before the position that predicts its first supervised token.

    So every position that the head sees belongs to one row.
    """
    first = next((place for place, label in enumerate(row.labels) if place and label != IGNORED), len(row.labels))
    return max(first - 1, 0)


class _Pack:
    """Tokens of a packed batch, growing segment by segment."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.places: list[int] = []
        self.positions: list[int] = []
        self.targets: list[int] = []
        self.in_answers: list[int] = []
        self.owners: list[int] = []
        self.segments: list[Segment] = []

    def add(self, row: Encoded, first: int, end: int, prefix: int | None = None, owner: int = -1) -> int:
        """Add the row's tokens from ``first`` to ``end``; returns the segment's number."""
        start = len(self.ids)
        self.segments.append(Segment(start, end - first, prefix))
        self.ids += row.input_ids[first:end]
        self.places += range(first, end)
        for place in range(max(first, 1), end):
            if row.labels[place] != IGNORED:
                self.positions.append(start + place - first - 1)
                self.targets.append(row.labels[place])
                self.owners.append(owner)
        # A shared beginning ends before the first supervised token, so all of a row's are in one segment.
        if owner >= 0:
            self.in_answers += places_in_answers(row)
        return len(self.segments) - 1
