"""EMA of weights: an average over the steps is what is evaluated and shipped; training itself is left alone.

Reported to keep safety in arXiv 2508.12531. After step k: average <- d average + (1 - d) w_k, beginning with w_0.
Lightning's ``EMAWeightAveraging`` swaps whole state dicts; here only trained parameters are kept, sharded as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import copies, need_number
from ptst_pl.defences.shipping import ShipsOtherWeights
from ptst_pl.defences.step import Step


@dataclass
class EMA(ShipsOtherWeights):
    """Ship an exponential moving average.

    Attributes:
        decay: d; 0 ships the last weights, 1 those that training starts from.
    """

    source: ClassVar[str] = "arXiv 2508.12531"
    copies: ClassVar[int] = 2
    decay: float = 0.95

    def __post_init__(self) -> None:
        need_number("decay", self.decay, 0, 1)

    def before_step(self, step: Step) -> None:
        """The first step finds the weights that training starts from."""
        if not self.kept:
            self.kept = copies(step.net)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Average the new weights in."""
        for name, average in self.kept.items():
            average.mul_(self.decay).add_(step.parameters[name], alpha=1 - self.decay)

    def to_ship(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The average."""
        return self.kept

    def going_on(self, shipped: dict[str, Tensor]) -> dict[str, Tensor]:
        """The average goes on as well."""
        return shipped
