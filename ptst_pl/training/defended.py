"""A config's section ``defence:``, put where it is asked: into the module, the task and the test templates."""

from __future__ import annotations

from typing import Any, cast

from ptst_pl import InputError
from ptst_pl.defences import Setting, build_defence
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture import Mixture
from ptst_pl.templates import OwnTemplates
from ptst_pl.training.callbacks import SafetyCurve
from ptst_pl.training.finetuner import FineTuner


def defend(tuner: FineTuner, task: Task, curve: SafetyCurve | None, config: Any) -> None:
    """Build the defence and hand it to all that call it.

    Args:
        tuner: the module, its weights not loaded.
        task: its rows not read.
        curve: what tests the model.
        config: the command's, with ``defence``, ``trainer`` and ``model``.

    Raises:
        InputError: an unknown defence, or one that cannot be combined with the rest.
    """
    defence = build_defence(config["defence"])
    strategy = config["trainer"]["strategy"]
    kind = str(getattr(strategy, "class_path", strategy)).rpartition(".")[2]
    setting = Setting(
        method=tuner.method,
        pretrained=tuner.pretrained,
        adapter=tuner.adapter,
        sharded=kind in ("fsdp2", "FSDP2Strategy", "ModelParallelStrategy"),
        quantized=tuner.quantize != "none",
    )
    defence.check(setting)
    if defence.kind == "rows" and isinstance(task, Mixture):
        raise InputError(f"defence {defence.name} changes rows, and a mixture has no rows of its own; name one task")
    tuner.defence = defence
    if defence.kind == "rows":
        task.change = defence
    task.own_templates = cast(OwnTemplates, {**task.own_templates, **defence.templates(task.own_templates)})
    if curve is not None:
        curve.template_names = [defence.served(name) for name in curve.template_names]
