"""Where the rows of a batch lie when they are put one behind the other, a common prefix only once.

Rows of one fine-tuning run share their template, so their token ids often begin alike: under a chat
format with a system prompt half of all tokens can be the same for every row. Under causal attention
a token depends on nothing behind it, so the prefix's hidden states, keys and values are the same in
all those rows: computed once, and read by all, they give every row the loss and the gradient that
it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

# A prefix that saves fewer tokens than this costs more in kernel calls than it saves.
WORTHWHILE = 16


class Segment(NamedTuple):
    """Consecutive tokens of a packed batch.

    Attributes:
        start: first token.
        size: number of tokens.
        prefix: number of the segment that comes before this one in its row; None for a row's beginning.
    """

    start: int
    size: int
    prefix: int | None = None


@dataclass(frozen=True)
class RowLayout:
    """How the T tokens of a packed batch belong together.

    Attributes:
        segments: in the tokens' order, without gaps. A segment sees itself causally and all of its prefix.
        query_ends: (N + 1,) int32, where the N segments' own tokens end, beginning with 0.
        key_ends: (N + 1,) int32, the same where every segment is preceded by its prefix.
        masks: masks by (segment, window), kept for the layers that follow.
    """

    segments: tuple[Segment, ...]
    query_ends: Tensor
    key_ends: Tensor
    masks: dict[tuple[int, int | None], Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tokens(self) -> int:
        """T."""
        return sum(segment.size for segment in self.segments)

    def before(self, number: int) -> int:
        """Tokens of the prefix of a segment."""
        prefix = self.segments[number].prefix
        return 0 if prefix is None else self.segments[prefix].size

    def map(self, move: Callable[[Tensor], Tensor]) -> RowLayout:
        """The same layout with its tensors moved."""
        return replace(self, query_ends=move(self.query_ends), key_ends=move(self.key_ends), masks={})


def lay_out(segments: Sequence[Segment]) -> RowLayout:
    """The layout of ``segments``."""
    own = [segment.size for segment in segments]
    seen = [s.size + (0 if s.prefix is None else segments[s.prefix].size) for s in segments]
    return RowLayout(tuple(segments), _ends(own), _ends(seen))


def _ends(sizes: Sequence[int]) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)


class Group(NamedTuple):
    """Rows that begin alike.

    Attributes:
        rows: their numbers in the batch.
        shared: how many first tokens of theirs are computed once.
    """

    rows: list[int]
    shared: int


def group_rows(
    rows: Sequence[Sequence[int]], limits: Sequence[int], sharing: bool = True, cost: int = 0
) -> list[Group]:
    """Groups of rows such that computing each group's common prefix once saves the most tokens.

    A group shares one prefix; rows of several templates form several groups.

    Args:
        rows: the rows' token ids.
        limits: of every row, how many first tokens may be shared.
        sharing: False puts every row in a group of its own.
        cost: tokens that a further group that shares must save.
    """
    if not (sharing and rows):
        return [Group([number], 0) for number in range(len(rows))]
    order = sorted(range(len(rows)), key=lambda number: list(rows[number]))
    return sorted(_best(rows, limits, order, 0, cost), key=lambda group: min(group.rows))


def _best(rows: Sequence[Sequence[int]], limits: Sequence[int], order: list[int], known: int, cost: int) -> list[Group]:
    """``order`` is sorted, and its rows agree in ``known`` tokens: first and last agree in what all agree in."""
    if len(order) == 1:
        return [Group(order, 0)]
    shared = _common(rows[order[0]], rows[order[-1]], known, min(limits[number] for number in order))
    together = (len(order) - 1) * shared
    parts = _parts(rows, order, shared)
    if len(parts) == 1:
        apart: list[Group] = []
    else:
        apart = [group for part in parts for group in _best(rows, limits, part, shared, cost)]
    further = max(0, sum(group.shared > 0 for group in apart) - 1)
    if apart and sum(_saved(group) for group in apart) - cost * further > together:
        return apart
    return [Group(order, shared)] if together >= WORTHWHILE else [Group([number], 0) for number in order]


def _saved(group: Group) -> int:
    return (len(group.rows) - 1) * group.shared


def _common(first: Sequence[int], last: Sequence[int], known: int, limit: int) -> int:
    end = min(len(first), len(last), limit)
    return next((place for place in range(min(known, end), end) if first[place] != last[place]), end)


def _parts(rows: Sequence[Sequence[int]], order: list[int], place: int) -> list[list[int]]:
    """``order`` cut where the token at ``place`` changes."""
    parts: dict[int | None, list[int]] = {}
    for number in order:
        parts.setdefault(rows[number][place] if place < len(rows[number]) else None, []).append(number)
    return list(parts.values())
