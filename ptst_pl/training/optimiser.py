"""AdamW over the trained parameters, and the learning rate per optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn

Schedule = Literal["constant", "cosine", "linear", "per-epoch-decay"]


def adamw(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    precision: str = "32-true",
) -> torch.optim.AdamW:
    """AdamW in one pass over the parameters, without fetching a number from the device.

    Under ``16-mixed`` in several: the fused one takes the loss's scale out of the gradients by itself, within the step,
    and what comes before it (division by the tokens, clipping, defences) would see scaled gradients.
    """
    fused = precision not in ("16-mixed", "16")
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, betas=betas, fused=fused)


def with_schedule(
    optimizer: torch.optim.Optimizer, schedule: Schedule, warmup_steps: int, decay: float, total: Callable[[], int]
) -> dict[str, Any]:
    """The optimiser and its schedule, as Lightning's ``configure_optimizers`` returns them.

    Args:
        optimizer: over the trained parameters.
        schedule: ``constant``, ``cosine`` or ``linear`` to zero, or ``per-epoch-decay``.
        warmup_steps: optimiser steps of linear warm-up.
        decay: factor per epoch of ``per-epoch-decay``.
        total: number of optimiser steps of the training. Not asked for before training: Lightning would set up the
            loader then, and a resumed run would lose its place in the epoch (pitfall G1).
    """
    if schedule == "per-epoch-decay":
        by_epoch = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=decay)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_epoch, "interval": "epoch"}}

    def share(step: int) -> float:
        return share_of_peak(step, schedule, warmup_steps, total)

    by_step = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_step, "interval": "step"}}


def share_of_peak(step: int, schedule: Schedule, warmup_steps: int, total: Callable[[], int]) -> float:
    """Learning rate at a step as a share of the peak."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant" or step == 0:
        return 1.0
    done = min(1.0, (step - warmup_steps) / max(1, total() - warmup_steps))
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
