"""The progress bar of training and validation; the safety curve has its own below it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

ON_A_TERMINAL_S, IN_A_FILE_S = 1.0, 30.0


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, with the right length under accumulation; it moves by time, however slow a batch is."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(refresh_rate=1)
        self._every = ON_A_TERMINAL_S if sys.stderr.isatty() else IN_A_FILE_S
        self._now, self._moved = now, 0.0

    def _should_update(self, current: int, total: int | float) -> bool:
        """At the first and the last batch, and otherwise when there has been time for it."""
        now = self._now()
        if current not in (1, total) and now - self._moved < self._every:
            return False
        self._moved = now
        return self.is_enabled

    @property
    def total_train_batches(self) -> int | float:
        """Micro-batches of this epoch; ``max_steps`` counts optimiser steps, Lightning's bar does not."""
        batches = self.trainer.num_training_batches
        if self.trainer.max_steps < 0:
            return batches
        return min(batches, self.trainer.max_steps * self.trainer.accumulate_grad_batches)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The metrics of the last log point: asking for newer ones would wait for the device at every step."""
        return dict(getattr(pl_module, "shown", {}))
