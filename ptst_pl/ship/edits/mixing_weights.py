"""Edits that are sums of weights: interpolation, RESTA, merging with a safety model.

Interpolation (WiSE-FT): W = W0 + a (W1 - W0), where 0 gives the aligned bits and 1 the fine-tuned ones. Of an adapter
it is the product B A that is scaled, once; scaling A and B each would scale it by a squared.

RESTA: Bhardwaj et al. 2024, arXiv 2402.11746. W = W1 + lambda (W_aligned - W_unaligned), perhaps with DARE before it:
every entry of W1 - W0 is dropped with probability p, and what stays is divided by 1 - p.

SafeMERGE: Djuhera et al. 2025, arXiv 2503.17239. A layer whose update leaves the safety subspace (cosine below tau)
becomes W0 + 0.8 (W1 - W0) + 0.2 (W_safety - W0).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ptst_pl.ship.edits.base import Edit, Layer, cosine, need
from ptst_pl.ship.edits.projectors import Projector, project


@dataclass
class Interpolate(Edit):
    """Between the aligned and the fine-tuned weights.

    Attributes:
        alpha: 0 is aligned, 1 fine-tuned; above 1 goes on.
    """

    source: ClassVar[str] = "arXiv 2109.01903"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        need("alpha", self.alpha, 0)

    def apply(self, layer: Layer) -> Tensor:
        """See the module; both ends are exact."""
        if self.alpha in (0, 1):
            return layer.tuned if self.alpha else layer.aligned
        return layer.aligned + self.alpha * layer.update


@dataclass
class Resta(Edit):
    """Add the safety vector.

    Attributes:
        weight: lambda.
        dropout: DARE's p.
        seed: of what is dropped.
    """

    source: ClassVar[str] = "arXiv 2402.11746"
    others: ClassVar[tuple[str, ...]] = ("unaligned",)
    weight: float = 0.5
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        need("weight", self.weight, 0)
        need("dropout", self.dropout, 0, 0.999)

    def apply(self, layer: Layer) -> Tensor:
        """See the module."""
        tuned = layer.tuned
        if self.dropout:
            tuned = layer.aligned + dare(layer.update, self.dropout, f"{self.seed} {layer.name}")
        if not self.weight:
            return tuned
        return tuned + self.weight * (layer.aligned - layer.others["unaligned"])


def dare(update: Tensor, dropout: float, seed: str) -> Tensor:
    """Drop and rescale: the mean of what is left is the update (arXiv 2311.03099)."""
    number = int(hashlib.sha256(seed.encode()).hexdigest()[:15], 16)
    kept = torch.rand(update.shape, generator=torch.Generator().manual_seed(number)) >= dropout
    return update * kept / (1 - dropout)


@dataclass
class SafeMerge(Edit):
    """Merge the layers that leave the safety subspace with a safety model.

    Attributes:
        threshold: tau.
        task: weight of the update.
        safety: weight of the safety model's.
    """

    source: ClassVar[str] = "arXiv 2503.17239"
    others: ClassVar[tuple[str, ...]] = ("base", "safety")
    threshold: float = 0.35
    task: float = 0.8
    safety: float = 0.2
    _merged: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        need("threshold", self.threshold, -1, 1)

    def apply(self, layer: Layer) -> Tensor:
        """See the module."""
        update = layer.update
        if not layer.linear or not update.any():
            return layer.tuned
        projector = Projector.official(layer.aligned - layer.others["base"])
        if cosine(project(projector, update), update) >= self.threshold:
            return layer.tuned
        self._merged.append(layer.name)
        return layer.aligned + self.task * update + self.safety * (layer.others["safety"] - layer.aligned)

    def notes(self) -> dict[str, Any]:
        """Which layers."""
        return {"layers merged": len(self._merged)}
