"""A training batch, and rows padded to it: on the right for training, on the left for generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches.layout import RowLayout


@dataclass
class Batch:
    """A training batch with S supervised positions: B rows padded to T tokens, or packed into T tokens with B = 1.

    Attributes:
        input_ids: (B, T) int64.
        attention_mask: (B, T) int64, 1 on real tokens; None where the rows are packed.
        positions: (S,) int64, flat indices into B*T: the positions that *predict* a supervised
            token, that is one left of it. Found on the host, so that the step never waits for the GPU.
        targets: (S,) int64, the supervised tokens.
        places: (S,) int64, every supervised token's place in its answer, counted from 1.
        rows: the data set's row numbers.
        sources: (S,) int64, the number of the source that each supervised token is from; None where
            all rows are from one.
        source_names: the sources' names, by that number.
        position_ids: (1, T) int64, every token's place in its own row, where the rows are packed.
        layout: which tokens belong to which row, where the rows are packed.
    """

    input_ids: Tensor
    attention_mask: Tensor | None
    positions: Tensor
    targets: Tensor
    places: Tensor
    rows: list[int]
    sources: Tensor | None = None
    source_names: tuple[str, ...] = ()
    position_ids: Tensor | None = None
    layout: RowLayout | None = None

    def map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with its tensors moved."""
        return replace(
            self,
            input_ids=move(self.input_ids),
            attention_mask=None if self.attention_mask is None else move(self.attention_mask),
            positions=move(self.positions),
            targets=move(self.targets),
            places=move(self.places),
            sources=None if self.sources is None else move(self.sources),
            position_ids=None if self.position_ids is None else move(self.position_ids),
            layout=None if self.layout is None else self.layout.map(move),
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``; a copy to a GPU goes on while the host does."""
        away = torch.device(device).type != "cpu"
        return self.map(lambda tensor: tensor.to(device, non_blocking=away))

    def pin_memory(self) -> Batch:
        """The same batch in pinned memory; called by the data loader."""
        return self.map(Tensor.pin_memory)


@dataclass(frozen=True)
class Sources:
    """Where the rows of a mixed data set come from.

    Attributes:
        names: the sources' names.
        of_row: for every row the number of its source.
    """

    names: tuple[str, ...]
    of_row: Sequence[int]


class PadRight:
    """Collate rows into a ``Batch``. No rows give a batch of one token with nothing supervised.

    Args:
        pad_id: id to pad with.
        sources: where the rows come from, if they come from several sources.
    """

    def __init__(self, pad_id: int, sources: Sources | None = None) -> None:
        self.pad_id, self.sources = pad_id, sources

    def __call__(self, items: Sequence[tuple[int, Encoded]]) -> Batch:
        """One batch from numbered rows."""
        length = max([1, *(len(row.input_ids) for _, row in items)])
        input_ids = torch.full((max(len(items), 1), length), self.pad_id)
        mask = torch.zeros_like(input_ids)
        mask[:, 0] = 1
        positions: list[int] = []
        targets: list[int] = []
        places: list[int] = []
        sources: list[int] = []
        for number, (index, row) in enumerate(items):
            size = len(row.input_ids)
            input_ids[number, :size] = torch.tensor(row.input_ids)
            mask[number, :size] = 1
            # The first token of a row has nothing before it that could predict it.
            for place in range(1, size):
                if row.labels[place] != IGNORED:
                    positions.append(number * length + place - 1)
                    targets.append(row.labels[place])
            places += places_in_answers(row)
            if self.sources is not None:
                sources += [self.sources.of_row[index]] * (len(targets) - len(sources))
        return Batch(
            input_ids,
            mask,
            torch.tensor(positions, dtype=torch.long),
            torch.tensor(targets, dtype=torch.long),
            torch.tensor(places, dtype=torch.long),
            [index for index, _ in items],
            None if self.sources is None else torch.tensor(sources, dtype=torch.long),
            () if self.sources is None else self.sources.names,
        )


def places_in_answers(row: Encoded) -> list[int]:
    """Of every supervised token that something stands before, its place in its own answer, counted from 1."""
    found: list[int] = []
    last = 0
    for place in range(1, len(row.labels)):
        if row.labels[place] != IGNORED:
            found.append(found[-1] + 1 if found and place == last + 1 else 1)
            last = place
    return found


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompt ids as (B, T) with padding on the left, and their attention mask."""
    length = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), length), pad_id)
    mask = torch.zeros_like(input_ids)
    for number, prompt in enumerate(prompts):
        input_ids[number, length - len(prompt) :] = torch.tensor(prompt)
        mask[number, length - len(prompt) :] = 1
    return input_ids, mask
