"""Where the wall time of a fit goes: training, generation, a serving defence, judging, other."""

from __future__ import annotations

import contextlib
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer

from ptst_pl.results.records import write_text
from ptst_pl.training.callbacks.folder import run_folder
from ptst_pl.training.finetuner import FineTuner

log = logging.getLogger(__name__)
FILE_NAME = "times.json"
PARTS = ("training", "generation", "serving", "judging", "other")


class Clock:
    """Seconds by what they were spent on; every moment counts once, for the innermost part that is going on.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.start()

    def start(self) -> None:
        """Begin anew; what is not said to be anything else is ``other``."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._parts = ["other"]
        self._since = self._now()

    def _count(self) -> None:
        now = self._now()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        """From now on it is this."""
        self._count()
        self._parts.append(part)

    def leave(self) -> None:
        """From now on it is again what it was before the last ``enter``."""
        self._count()
        if len(self._parts) > 1:
            self._parts.pop()

    @contextlib.contextmanager
    def during(self, part: str) -> Iterator[None]:
        """``enter`` and ``leave``. Waits for a GPU at both ends, or one part's kernels would count for the next."""
        _wait_for_gpu()
        self.enter(part)
        try:
            yield
        finally:
            _wait_for_gpu()
            self.leave()

    def stop(self) -> dict[str, float]:
        """Seconds by part, up to now."""
        self._count()
        return dict(self.seconds)


def peak_memory() -> int:
    """Bytes: the most that was allocated on the GPU, or else this process's largest resident size."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _wait_for_gpu() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def shares(seconds: dict[str, float]) -> str:
    """``training 81 %, generation 12 %, judging 3 %, other 4 % of 95 s``."""
    total = sum(seconds.values())
    parts = ", ".join(
        f"{part} {seconds[part] / total if total else 0:.0%}".replace("%", " %") for part in _worth_saying(seconds)
    )
    return f"{parts} of {total:.0f} s"


def _worth_saying(seconds: dict[str, float]) -> list[str]:
    """Few runs have a serving defence."""
    return [part for part in PARTS if part != "serving" or seconds[part]]


class TimeShares(Callback):
    """Says at the end of every fit where its time went, and writes it to ``times.json`` in the run's folder.

    Wall time of the first rank from the loading of the model on. Training is everything between its first and its
    last step that is neither an evaluation, nor a validation, nor a checkpoint; waiting for data is part of it.

    The file: ``{"fits": [{"steps": [0, 80], "seconds": {"training": 77.1, ...}, "memory": ..., "tokens": ...}]}``,
    one entry for every command that trained this run: this process's peak memory in bytes (the GPU's where there is
    one), and the tokens that this rank's training passes have gone over.

    Args:
        clock: the one that the safety curve counts generation and judging with.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._first_step: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self.clock.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loading is over."""
        self._first_step = trainer.global_step
        self.clock.enter("training")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The held-out loss is no training."""
        self.clock.enter("other")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to what it was."""
        self.clock.leave()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes now is the last evaluation, and files."""
        self.clock.leave()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say and write."""
        if stage != "fit" or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        seconds = self.clock.stop()
        log.info("time: %s", shares(seconds))
        if self._first_step in (None, trainer.global_step):  # a finished run, resumed: it stays as it is
            return
        assert isinstance(pl_module, FineTuner)
        entry = {
            "steps": [self._first_step, trainer.global_step],
            "seconds": seconds,
            "memory": peak_memory(),
            "tokens": pl_module.seen_tokens,
        }
        path = run_folder(trainer) / FILE_NAME
        write_text(path, json.dumps({"fits": [*_earlier(path), entry]}, indent=1) + "\n")


def _earlier(path: Path) -> list[object]:
    """The entries of the commands before; a file that cannot be read is no reason to end a finished run badly."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["fits"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
