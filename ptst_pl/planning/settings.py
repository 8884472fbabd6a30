"""What a plan takes from the trainer's part of a config, as Lightning reads it, without building a trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ptst_pl import InputError

Sharing = Literal["single", "ddp", "fsdp2"]
EPOCHS_UNLESS_SAID = 1000  # Lightning's, where neither max_epochs nor max_steps is set


@dataclass(frozen=True)
class Training:
    """How the trainer will run.

    Attributes:
        devices: over all nodes.
        sharing: ``single``, ``ddp`` (every device has all weights) or ``fsdp2`` (each has a part).
        precision: as in the config.
        accumulate: micro-batches per optimiser step.
        max_epochs: epochs, if ``max_steps`` does not end the run earlier; -1 for no end.
        max_steps: optimiser steps; -1 for no limit.
        train_limit: ``trainer.limit_train_batches``.
        held_out_limit: ``trainer.limit_val_batches``.
        validate_every: ``trainer.val_check_interval``; a text is a span of time, whose validations are not counted.
        validate_every_epochs: ``trainer.check_val_every_n_epoch``.
    """

    devices: int
    sharing: Sharing
    precision: str
    accumulate: int
    max_epochs: int
    max_steps: int
    train_limit: int | float | None
    held_out_limit: int | float | None
    validate_every: int | float | str | None
    validate_every_epochs: int | None

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that ``bf16-mixed`` and ``16-mixed`` compute in; None without autocast."""
        kinds = {"bf16": torch.bfloat16, "16": torch.float16}
        return kinds[self.precision.removesuffix("-mixed")] if self.precision.endswith("-mixed") else None

    @property
    def answering(self) -> torch.dtype | None:
        """The type that float32 weights are rounded to while answers are generated; None for their own."""
        return self.autocast if self.autocast == torch.bfloat16 else None

    def steps_of_an_epoch(self, batches: int) -> int:
        """Optimiser steps of an epoch of so many micro-batches per device."""
        return math.ceil(batches / self.accumulate)

    def total_steps(self, batches: int) -> int:
        """Optimiser steps of the run.

        Raises:
            InputError: the run has no end.
        """
        epochs = None if self.max_epochs < 0 else self.max_epochs * self.steps_of_an_epoch(batches)
        found = [steps for steps in (epochs, self.max_steps if self.max_steps >= 0 else None) if steps is not None]
        if not found:
            raise InputError("trainer.max_epochs is -1 and max_steps is not set: a run without an end has no plan")
        return min(found)

    def validations(self, batches: int, steps: int) -> int:
        """How often the held-out loss is computed in a run of so many steps, by Lightning's rules."""
        every, epochs = self.validate_every, self.validate_every_epochs
        every = 1.0 if every is None else every
        if isinstance(every, str):  # a span of time
            return 0
        interval = every if isinstance(every, int) else max(1, int(batches * every))
        whole, rest = divmod(steps, max(1, self.steps_of_an_epoch(batches)))
        if epochs is None:  # the interval runs on over the end of an epoch
            return (whole * batches + rest * self.accumulate) // interval
        last = rest * self.accumulate // interval if (whole + 1) % epochs == 0 else 0
        return whole // epochs * (batches // interval) + last


def limited(batches: int, limit: int | float | None) -> int:
    """Batches that are left of ``batches`` by Lightning's rule: a number, or a share of them."""
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def read_training(trainer: Mapping[str, Any]) -> Training:
    """Read the ``trainer`` section of a config."""
    devices = _devices(trainer["devices"], trainer["accelerator"]) * int(trainer["num_nodes"])
    quick = int(trainer["fast_dev_run"])  # so many batches of everything, once
    epochs, steps = trainer["max_epochs"], int(trainer["max_steps"])
    if epochs is None:
        epochs = EPOCHS_UNLESS_SAID if steps < 0 else -1
    return Training(
        devices=devices,
        sharing=_sharing(trainer["strategy"], devices),
        precision={None: "32-true", "32": "32-true", "bf16": "bf16-mixed"}.get(
            trainer["precision"], str(trainer["precision"])
        ),
        accumulate=int(trainer["accumulate_grad_batches"]),
        max_epochs=1 if quick else int(epochs),
        max_steps=quick or steps,
        train_limit=quick or trainer["limit_train_batches"],
        held_out_limit=quick or trainer["limit_val_batches"],
        validate_every=None if quick else _interval(trainer["val_check_interval"]),
        validate_every_epochs=trainer["check_val_every_n_epoch"],
    )


def _interval(every: Any) -> int | float | str | None:
    return every if every is None or isinstance(every, (int, float)) else str(every)


def _devices(wanted: object, accelerator: object) -> int:
    """Devices of one node; where the machine decides, those that are here."""
    if isinstance(wanted, list):
        return len(wanted)
    text = str(wanted)
    if text in ("auto", "-1"):
        return 1 if accelerator == "cpu" else max(1, torch.cuda.device_count())
    numbers = [part for part in text.split(",") if part.strip()]
    if "," in text:
        return len(numbers)
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"trainer.devices is {wanted!r}, expected a number of devices, a list of them, or auto")
    return int(text)


def _sharing(strategy: Any, devices: int) -> Sharing:
    name = strategy if isinstance(strategy, str) else str(strategy["class_path"])
    name = name.rsplit(".", 1)[-1].lower()
    if "fsdp" in name or "modelparallel" in name or "shard" in name:
        return "fsdp2"
    return "single" if devices == 1 else "ddp"
