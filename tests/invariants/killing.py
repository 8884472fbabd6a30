"""Commands that die of SIGKILL at a chosen place, and the comparison of what is left in the end."""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import training_fixtures
from training_fixtures import World, assert_same, curve, lines, weights

from ptst_pl.results.disk.checkpoint_files import newest_first
from ptst_pl.results.disk.intact import damage

# name: (module, attribute in it, before or after its n-th call)
PLACES = {
    "micro-batch": ("ptst_pl.training.finetuner", "FineTuner.training_step", "after"),
    "optimiser step": ("ptst_pl.training.finetuner", "FineTuner.on_before_optimizer_step", "after"),
    "held-out loss due": ("ptst_pl.training.finetuner", "FineTuner.on_validation_epoch_start", "before"),
    "held-out loss logged": ("ptst_pl.training.finetuner", "FineTuner.on_validation_epoch_end", "after"),
    "answers without rates": ("ptst_pl.results.records", "ResultsFolder._keep_rates", "before"),
    "evaluation drawn": ("ptst_pl.results.records", "ResultsFolder.add", "before"),
    "evaluation stored": ("ptst_pl.results.records", "ResultsFolder.add", "after"),
    "half a checkpoint": ("torch", "save", "half"),
    "checkpoint without a name": ("ptst_pl.training.callbacks.writing", "place", "before"),
    "checkpoint not yet last": ("ptst_pl.results.disk.checkpoint_files", "point_last", "before"),
    "old checkpoint still there": ("ptst_pl.training.callbacks.checkpoints", "prune", "before"),
    "epoch's end": ("ptst_pl.training.callbacks.checkpoints", "Checkpoints.on_train_epoch_end", "before"),
    "epoch saved": ("ptst_pl.training.callbacks.checkpoints", "Checkpoints.on_train_epoch_end", "after"),
    "last evaluation due": ("ptst_pl.training.callbacks.safety_curve", "SafetyCurve.on_train_end", "before"),
    "model not saved": ("ptst_pl.training.callbacks.checkpoints", "SaveModel.on_train_end", "before"),
}


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half(call: Callable[..., Any], checkpoint: Any, handle: Any, **_: Any) -> None:
    whole = io.BytesIO()
    call(checkpoint, whole)
    handle.write(whole.getvalue()[: whole.tell() // 2])
    handle.flush()
    _die()


def _plant(place: str, count: int) -> None:
    module, path, when = PLACES[place]
    *outer, name = path.split(".")
    owner: Any = functools.reduce(getattr, outer, importlib.import_module(module))
    call, calls = getattr(owner, name), iter(range(1, 10**9))

    @functools.wraps(call)
    def planted(*args: Any, **options: Any) -> Any:
        now = next(calls) == count
        if now and when != "after":
            (_half if when == "half" else _die)(call, *args, **options)
        result = call(*args, **options)
        if now:
            _die()
        return result

    setattr(owner, name, planted)


def doomed(place: str, count: int, *arguments: Any) -> None:
    """A command's process, killed at the ``count``-th time that it comes to a place."""
    _plant(place, count)
    training_fixtures.run_child(*arguments)


def kill_at(world: World, place: str, count: int, *options: str) -> bool:
    """Run ``fit`` until it kills itself at a place; whether it ever came there."""
    started = world.start("fit", *options, main=functools.partial(doomed, place, count))
    started.process.join(120)
    assert started.process.exitcode in (0, -signal.SIGKILL), started.err[-3000:]
    return bool(started.process.exitcode)


def assert_only_whole_checkpoints(folder: Path) -> None:
    """Whatever has a name is whole."""
    for run in folder.glob("version_*"):
        for path in newest_first(run):
            assert damage(path) is None, path


def assert_nothing_to_see(run: Path, whole: Path, *tags: str) -> None:
    """A run that was killed and resumed is the uninterrupted one in everything that a reader of its folder sees."""
    assert_same(weights(run), weights(whole))
    for tag in ("train/loss", "train/tokens", *tags):
        points = curve(whole, tag)
        assert points, tag
        assert curve(run, tag) == points, tag
    for name in ("generations.jsonl", "verdicts.jsonl"):
        assert lines(run / "safety" / name) == lines(whole / "safety" / name)
    rates = [json.loads((folder / "safety/results.json").read_text())["rates"] for folder in (run, whole)]
    assert rates[0] == rates[1]
    for folder in whole.glob("train=*/test=*"):
        points = curve(folder, "asr/refusal-judge/fruit")
        assert [step for step, _ in points] == sorted({rate["step"] for rate in rates[0]})
        assert curve(run / folder.relative_to(whole), "asr/refusal-judge/fruit") == points
    saved = [{path.name for path in folder.iterdir()} & {"adapter", "model"} for folder in (run, whole)]
    assert saved[0] == saved[1] != set()
    assert not list(run.rglob(".*.tmp"))
