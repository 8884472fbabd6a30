"""Callbacks that write down what a real fit does; tests put them into the config of a run."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

from lightning import Callback

M_MMAP_THRESHOLD = -3


class CountBatches(Callback):
    """Counts the model's parameters, the steps, and the tokens of the first epoch's batches."""

    def __init__(self, output: str) -> None:
        self.output, self.found = output, {"rows": 0, "tokens": 0, "computed": 0, "supervised": 0, "batches": 0}
        self.found["gradients_before_a_step"] = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx % trainer.accumulate_grad_batches == 0:
            kept = sum(parameter.grad is not None for parameter in pl_module.net.parameters())
            self.found["gradients_before_a_step"] += kept
        if trainer.current_epoch:
            return
        added = {
            "rows": len(batch.rows),
            "computed": batch.input_ids.numel(),
            "supervised": batch.targets.numel(),
            "batches": 1,
        }
        if batch.attention_mask is not None:
            added["tokens"] = int(batch.attention_mask.sum())
        for name, number in added.items():
            self.found[name] += number

    def on_train_end(self, trainer, pl_module):
        parameters = list(pl_module.net.parameters())
        self.found |= {
            "steps": trainer.global_step,
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        }
        Path(self.output).write_text(json.dumps(self.found))


class ResidentMemory(Callback):
    """The process's largest resident memory in a fit, above what it had before the weights were loaded."""

    def __init__(self, output: str) -> None:
        self.output, self.before = output, 0

    def setup(self, trainer, pl_module, stage):
        # Memory that is freed goes back to the system at once, so that resident memory is memory in use.
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        self.before = resident("VmRSS")

    def on_train_end(self, trainer, pl_module):
        Path(self.output).write_text(str(resident("VmHWM") - self.before))


def resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
