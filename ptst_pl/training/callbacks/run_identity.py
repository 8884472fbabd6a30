"""The record of what a run is, made once per process from the module and its task."""

from __future__ import annotations

from typing import Any

from lightning import Trainer

from ptst_pl.training.finetuner import FineTuner


def identity_of(trainer: Trainer) -> dict[str, Any]:
    """``base`` and ``training`` of a fit; a checkpoint's own record; of an untouched model ``base`` alone.

    See ``ptst_pl.results.identity`` for the record.
    """
    tuner, task = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(tuner, FineTuner)
    if not tuner.record:
        tuner.record = {"base": tuner.base()}
    if trainer.state.fn == "fit" and not tuner.known:
        tuner.record, tuner.known = {"base": tuner.base(), "training": tuner.identity() | task.identity()}, True
    return tuner.record
