"""Losses added up on the device, so that nobody waits for it until somebody wants to see a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ptst_pl.model.loss.answers import EachToken
from ptst_pl.tokenization.batches import Batch

# Stands for "no token of this source": no loss is negative, and asking for the count would wait for the GPU.
ABSENT = -1.0


class Micro(NamedTuple):
    """A micro-batch that was computed.

    Attributes:
        step: the optimiser step it belongs to, counted from 1.
        rows: its rows' numbers.
    """

    step: int
    rows: list[int]


class SummedLoss:
    """Sums of loss, tokens and micro-batches without a finite loss; and loss and tokens of every source.

    Args:
        device: where the model is.
        dtype: of the sums.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self._sums = torch.zeros(3, device=device, dtype=dtype)
        self._sources = torch.zeros(2, 0, device=device, dtype=dtype)
        self._names: tuple[str, ...] = ()

    def each(self, batch: Batch) -> EachToken | None:
        """What takes the (S,) losses of a batch's single tokens, where they come from several sources."""
        sources = batch.sources
        if sources is None:
            return None
        if not self._names:
            self._names = batch.source_names
            self._sources = self._sources.new_zeros(2, len(self._names))
        # Not index_add_: its order of summation, and so its last digits, change from run to run on a GPU.
        own = sources == torch.arange(len(self._names), device=sources.device)[:, None]

        def take(nll: Tensor) -> None:
            self._sources[0] += torch.where(own, nll.to(self._sources.dtype), 0.0).sum(1)
            self._sources[1] += own.sum(1)

        return take

    def add(self, nll: Tensor, tokens: int) -> None:
        """Add a micro-batch's summed loss and its number of supervised tokens."""
        nll = nll.detach().to(self._sums.dtype)
        self._sums[0] += nll
        self._sums[1] += tokens
        self._sums[2] += ~torch.isfinite(nll)

    @property
    def vector(self) -> Tensor:
        """(3 + 2 K,) sums over K sources, to be added up over all ranks."""
        return torch.cat([self._sums, self._sources.flatten()])

    def means_by_source(self, name: str, vector: Tensor) -> dict[str, Tensor]:
        """``<name>/<source>``: loss per token of each source, from ``vector``; ``ABSENT`` without a token."""
        nll, tokens = vector[3:].reshape(2, len(self._names))
        means = torch.where(tokens > 0, nll / tokens.clamp(min=1), ABSENT).float()
        return {f"{name}/{source}": mean for source, mean in zip(self._names, means, strict=True)}

    def reset(self) -> None:
        """Start again from zero."""
        self._sums.zero_()
        self._sources.zero_()


class FirstNotFinite:
    """Which micro-batch was the first without a finite loss; the answer waits for the device, noting does not."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._micros: list[Micro] = []

    def note(self, nll: Tensor, step: int, rows: Sequence[int]) -> None:
        """Remember a micro-batch until somebody asks."""
        self._losses.append(nll.detach())
        self._micros.append(Micro(step, list(rows)))

    def __len__(self) -> int:
        return len(self._micros)

    def find(self) -> Micro | None:
        """The first one since the last time that somebody asked; None if all losses were finite."""
        losses, micros = self._losses, self._micros
        self._losses, self._micros = [], []
        if not losses:
            return None
        finite = torch.isfinite(torch.stack(losses)).tolist()
        return next((micro for micro, good in zip(micros, finite, strict=True) if not good), None)
