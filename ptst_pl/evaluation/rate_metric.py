"""Rates as a torchmetrics metric: counts stay on the device and add up across ranks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics import Metric


class RateMetric(Metric):
    """``k`` of ``n`` scored outcomes, and how many were unscored, summed over updates and ranks.

    ``compute`` gives the rate as a scalar tensor, nan where nothing was scored or too much was not.

    Args:
        max_unscored: largest share of unscored outcomes with which the rate is still defined.
    """

    full_state_update = False
    higher_is_better = False
    k: Tensor
    n: Tensor
    unscored: Tensor

    def __init__(self, max_unscored: float = 1.0) -> None:
        super().__init__()
        self.max_unscored = max_unscored
        for name in ("k", "n", "unscored"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, outcomes: Iterable[bool | None]) -> None:
        """Count outcomes; None is unscored, in neither ``k`` nor ``n``."""
        found = list(outcomes)
        self.k += found.count(True)
        self.n += len(found) - found.count(None)
        self.unscored += found.count(None)

    def compute(self) -> Tensor:
        """The rate as a scalar."""
        defined = (self.n > 0) & (self.unscored <= self.max_unscored * (self.n + self.unscored))
        return torch.where(defined, self.k / self.n.clamp(min=1), torch.nan)
