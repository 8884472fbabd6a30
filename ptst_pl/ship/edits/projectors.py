"""Edits that keep an update in the subspace that alignment moved weights in, or add to what alignment did.

Safe LoRA: Hsu et al. 2024, arXiv 2405.16833. V = W_aligned - W_base of a layer, C = V V^T / |V|_F. Where the cosine
between C D and D is at most tau, the update D becomes C D. The published C is no projector: it is not idempotent and
grows with V, and mostly shrinks the update. ``orthogonal`` takes U U^T instead, over the left singular vectors that
hold a share of V's energy. Both are offered; the layers are chosen by tau or by number (those with the smallest
cosines).

LoX: Perin et al. 2025, arXiv 2506.15606. Before fine-tuning: W = W_aligned + c TopK_SVD(W_aligned - W_base).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ptst_pl import InputError
from ptst_pl.ship.edits.base import Edit, Layer, cosine, need


@dataclass(frozen=True)
class Projector:
    """``scale * left @ left.T``."""

    left: Tensor
    scale: float = 1.0

    @staticmethod
    def official(change: Tensor) -> Projector:
        """V V^T / |V|_F, as published."""
        norm = float(change.norm())
        return Projector(change, 1 / norm if norm else 0.0)

    @staticmethod
    def orthogonal(change: Tensor, energy: float = 0.9) -> Projector:
        """U U^T over the fewest singular vectors that hold ``energy`` of the squared norm."""
        left, values, _ = torch.linalg.svd(change, full_matrices=False)
        squares = values.square()
        if not squares.sum() > 0:
            return Projector(left[:, :0])
        share = squares.cumsum(0) / squares.sum()
        rank = int((share < energy - 1e-9).sum()) + 1
        return Projector(left[:, :rank])


def project(projector: Projector, update: Tensor) -> Tensor:
    """The projector times an update."""
    return projector.scale * (projector.left @ (projector.left.T @ update))


@dataclass
class SafeLora(Edit):
    """Put updates back into the subspace of alignment.

    Attributes:
        projector: ``official`` or ``orthogonal``.
        threshold: tau; layers whose cosine is at most that are projected.
        layers: instead of a threshold: so many layers, those with the smallest cosines.
        energy: share of V's squared norm, of the orthogonal projector.
    """

    source: ClassVar[str] = "arXiv 2405.16833"
    others: ClassVar[tuple[str, ...]] = ("base",)
    projector: Literal["official", "orthogonal"] = "official"
    threshold: float = 0.5
    layers: int | None = None
    energy: float = 0.9
    _cosines: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _projected: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.projector not in ("official", "orthogonal"):
            raise InputError(f"edit: projector is {self.projector!r}, expected official or orthogonal")
        need("threshold", self.threshold, -1, 1)
        need("energy", self.energy, 0, 1)
        if self.layers is not None:
            need("layers", self.layers, 0)

    @property
    def looks(self) -> bool:
        """To know which layers have the smallest cosines."""
        return self.layers is not None

    def look(self, layer: Layer) -> None:
        """Note the cosine."""
        found = self._project(layer)
        if found is not None:
            self._cosines[layer.name] = round(cosine(found, layer.update), 5)

    def apply(self, layer: Layer) -> Tensor:
        """See the module."""
        found = self._project(layer)
        if found is None or not self._chosen(layer, found):
            return layer.tuned
        self._projected += 1
        return layer.aligned + found

    def _chosen(self, layer: Layer, found: Tensor) -> bool:
        if self.layers is None:
            return round(cosine(found, layer.update), 5) <= self.threshold
        lowest = sorted(self._cosines, key=lambda name: (self._cosines[name], name))
        return layer.name in lowest[: self.layers]

    def _project(self, layer: Layer) -> Tensor | None:
        update = layer.update
        if not layer.linear or not update.any():
            return None
        change = layer.aligned - layer.others["base"]
        kind = Projector.official(change) if self.projector == "official" else Projector.orthogonal(change, self.energy)
        return project(kind, update)

    def notes(self) -> dict[str, Any]:
        """How many layers."""
        return {"layers projected": self._projected}


@dataclass
class Lox(Edit):
    """More of what alignment did, before fine-tuning.

    Attributes:
        rank: k of TopK; 0 takes all.
        weight: c.
    """

    source: ClassVar[str] = "arXiv 2506.15606"
    others: ClassVar[tuple[str, ...]] = ("base",)
    needs_tuned: ClassVar[bool] = False
    rank: int = 6
    weight: float = 1.0

    def __post_init__(self) -> None:
        need("rank", self.rank, 0)

    def apply(self, layer: Layer) -> Tensor:
        """See the module."""
        if layer.aligned.ndim < 2:
            return layer.aligned
        return layer.aligned + self.weight * top_k(layer.aligned - layer.others["base"], self.rank)


def top_k(matrix: Tensor, rank: int) -> Tensor:
    """The best approximation of this rank; the matrix itself for rank 0 or a rank that it does not exceed."""
    if not 0 < rank < min(matrix.shape):
        return matrix
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found: Tensor = (left[:, :rank] * values[:rank]) @ right[:rank]
    return found
