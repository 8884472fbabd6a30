"""Edits that look at what layers are given: Safe Delta and Antidote.

Safe Delta: Lu et al. 2025, arXiv 2505.12038. Of a linear layer with inputs x of safe rows, H = 2 mean(x x^T) with
damping, U the upper Cholesky factor of H^-1. Taking over entry (i, j) of the update costs (W1 - W0)_ij^2 / U_jj^2.
Columns come in ascending order of 1 / U_jj^2, but for the top ``excluded`` share; within the budget entries take the
fine-tuned value, the others stay aligned, and what the accepted ones change in the layer's outputs is taken back as
far as possible by the columns behind them: with err = (W - Q)_j / U_jj the columns to the right lose err U_j,right.
Every column is its own block: larger ones do not see each other's errors.

Antidote: Huang et al. 2024, arXiv 2408.09600. On harmful rows an entry scores |W_ij| |x_j| (Wanda); the ``ratio``
with the largest scores is set to 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ptst_pl.ship.edits.base import Edit, Layer, need


@dataclass
class SafeDelta(Edit):
    """Accept the update where it costs little safety, and compensate.

    Attributes:
        scale: s, of the budget; 0 keeps the aligned weights, infinity accepts all.
        excluded: share of the columns that are never accepted.
        damping: share of H's mean diagonal that is added to it.
        compensate: False only chooses.
    """

    source: ClassVar[str] = "arXiv 2505.12038"
    rows: ClassVar[str] = "safety"
    scale: float = 0.1
    excluded: float = 0.15
    damping: float = 0.01
    compensate: bool = True
    _accepted: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        need("scale", self.scale, 0)
        need("excluded", self.excluded, 0, 1)
        need("damping", self.damping, 0)

    def apply(self, layer: Layer) -> Tensor:
        """See the module; tensors that are no linear layer's stay aligned unless everything is accepted."""
        if layer.inputs is None:
            return layer.tuned if self.scale == float("inf") else layer.aligned
        factor = inverse_factor(2 * layer.inputs, self.damping)
        accepted = choose(layer.update, factor.diagonal(), self.scale, self.excluded)
        self._accepted.append(float(accepted.float().mean()))
        if not self.compensate:
            return torch.where(accepted, layer.tuned, layer.aligned)
        return compensated(layer.aligned, layer.tuned, accepted, factor)

    def notes(self) -> dict[str, Any]:
        """How much of the update was accepted."""
        shares = self._accepted
        return {"share accepted": round(sum(shares) / len(shares), 4) if shares else None}


def inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """U, upper triangular with U^T U = H^-1, of a damped (d, d) H; in float64."""
    damped = hessian.double()
    mean = damped.diagonal().mean().clamp(min=1e-12)
    damped = damped + torch.eye(len(damped), dtype=torch.float64) * (damping * mean + 1e-12)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    found: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return found


def choose(update: Tensor, diagonal: Tensor, scale: float, excluded: float) -> Tensor:
    """(rows, d) bool: the entries of the update that are taken over.

    Args:
        update: (rows, d).
        diagonal: (d,) of U.
        scale: of the budget.
        excluded: share of the columns, those that come last, that are never taken over.
    """
    rows, size = update.shape
    if scale == 0:
        return torch.zeros_like(update, dtype=torch.bool)
    weight = 1 / diagonal.square()
    budget = scale * float(weight.mean()) * rows / 4096 / 2
    order = weight.argsort()
    kept = order[: size - round(excluded * size)]
    costs = (update.double()[:, kept].square() * weight[kept]).T.flatten()  # column after column
    fits = costs.cumsum(0) <= budget
    accepted = torch.zeros(size, rows, dtype=torch.bool)
    accepted[kept] = fits.reshape(len(kept), rows)
    return accepted.T


def compensated(aligned: Tensor, tuned: Tensor, accepted: Tensor, factor: Tensor) -> Tensor:
    """Accepted entries have the tuned value; the others make up for them as far as they can, column by column."""
    weights = aligned.double().clone()
    target = tuned.double()
    for column in range(weights.shape[1]):
        taken = accepted[:, column]
        if not taken.any():
            continue
        wanted = torch.where(taken, target[:, column], weights[:, column])
        error = (weights[:, column] - wanted) / factor[column, column]
        weights[:, column] = wanted
        weights[:, column + 1 :] -= torch.outer(error, factor[column, column + 1 :])
    # A later entry that is itself accepted ends at its tuned value: the loop has put it there last.
    return weights.to(aligned.dtype)


@dataclass
class Antidote(Edit):
    """Zero what matters most on harmful rows.

    Attributes:
        ratio: share of a layer's entries.
    """

    source: ClassVar[str] = "arXiv 2408.09600"
    rows: ClassVar[str] = "harmful"
    ratio: float = 0.05

    def __post_init__(self) -> None:
        need("ratio", self.ratio, 0, 1)

    def apply(self, layer: Layer) -> Tensor:
        """See the module."""
        if layer.inputs is None:
            return layer.tuned
        count = round(self.ratio * layer.tuned.numel())
        if not count:
            return layer.tuned
        scores = layer.tuned.abs() * layer.inputs.diagonal().clamp(min=0).sqrt()
        pruned = layer.tuned.clone().flatten()
        pruned[scores.flatten().topk(count).indices] = 0
        return pruned.reshape(layer.tuned.shape)
