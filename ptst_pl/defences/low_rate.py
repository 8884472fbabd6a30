"""A lower learning rate: what a run's own settings can do for safety, without any defence in the literal sense.

Qi et al. 2023 (arXiv 2310.03693) find less harm at smaller rates and larger batches. The batch is a setting of the
trainer (``accumulate_grad_batches``); the rate is scaled here, so that the run is told apart from plain ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptst_pl.defences.base import Defence, Kind, need_number


@dataclass
class LowRate(Defence):
    """Scale the learning rate.

    Attributes:
        factor: of the config's learning rate.
    """

    kind: ClassVar[Kind] = "settings"
    source: ClassVar[str] = "arXiv 2310.03693"
    factor: float = 0.25

    def __post_init__(self) -> None:
        need_number("factor", self.factor)

    def learning_rate(self, rate: float) -> float:
        """Scaled."""
        return rate * self.factor
