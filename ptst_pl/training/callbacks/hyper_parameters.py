"""A fit's settings and last rates as one row of TensorBoard's hparams view."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ptst_pl.judges.base import label
from ptst_pl.results.records import ResultsFolder
from ptst_pl.training.callbacks.folder import run_folder
from ptst_pl.training.callbacks.tensorboard import LINK_QUERY, sub_runs, visible

log = logging.getLogger(__name__)
FINAL = "final"
_TRAINER_KEYS = (
    *("max_steps", "max_epochs", "precision", "devices", "strategy"),
    *("accumulate_grad_batches", "gradient_clip_val"),
)
_ELSEWHERE = {
    "templates",
    "chat_format",
    "chat_options",
    "tokenizer",
    "seed",
    "template",
}  # of a task: a copy of another key


class HyperParameters(Callback):
    """At the end of a fit, its settings and last rates as one row of TensorBoard's hparams view.

    They stand in a sub-run of their own, without a list of columns: TensorBoard takes the columns of the first
    run that has a list and drops those of all others, which may have been tested under other templates.

    Args:
        config: the complete config of the fit.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.settings = settings(config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A resumed run takes its old row away: the last rates are not the last any more."""
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            shutil.rmtree(run_folder(trainer) / FINAL, ignore_errors=True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row; the safety curve's last point is in the results by now."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        template = trainer.datamodule.template_name  # type: ignore[attr-defined]
        run = run_folder(trainer)
        metrics = {
            "step": float(trainer.global_step),
            **_losses(trainer),
            **final_rates(run / "safety", trainer.global_step),
        }
        with SummaryWriter(str(run / FINAL)) as writer:
            _, start, end = hparams({"train_template": template, **self.settings}, metrics)  # type: ignore[no-untyped-call]
            for summary in (start, end):
                writer.file_writer.add_summary(summary)  # type: ignore[no-untyped-call]
            for name, value in metrics.items():
                writer.add_scalar(name, value, trainer.global_step)
        log.info("curves: tensorboard --logdir %s, then http://localhost:6006/%s#timeseries", run.parent, LINK_QUERY)


def _losses(trainer: Trainer) -> dict[str, float]:
    found = {name: trainer.callback_metrics.get(name) for name in ("train/loss", "val/loss")}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def final_rates(results: Path, step: int) -> dict[str, float]:
    """One step's rates and mean scores as ``asr/exact-judge/suite/chat-llama``, undefined ones left out."""
    rates = ResultsFolder(results).rates()
    names = {template: path.name for template, path in sub_runs(Path(), "", (r["template"] for r in rates)).items()}
    found: dict[str, float] = {}
    for record in rates:
        value = record["rate"] if record.get("mean_score") is None else record["mean_score"]
        if int(record["step"]) == step and value is not None:
            test = names[record["template"]].removeprefix("test=")
            found[f"{label(record['measures'], record['judge'])}/{record['suite']}/{test}"] = float(value)
    return found


def settings(config: Mapping[str, Any]) -> dict[str, str | float]:
    """The part of a config that may make two runs differ, as flat names and plain values."""
    data = config["data"]
    task = {key: value for key, value in (data.get("init_args") or {}).items() if key not in _ELSEWHERE}
    trainer = {key: config["trainer"].get(key) for key in _TRAINER_KEYS}
    chosen = {
        "seed": config["seed_everything"],
        "chat_format": config["chat_format"],
        "task": str(data["class_path"]).rpartition(".")[2],
        "model": config["model"],
        "data": task,
        "trainer": trainer,
        "safety.templates": config["safety"]["templates"],
    }
    return dict(_flat("", chosen))


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str | float]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), part)
    elif isinstance(value, bool | list):
        yield prefix, json.dumps(value, ensure_ascii=False, default=str)[:200]
    elif isinstance(value, int | float):
        yield prefix, value
    elif value is not None:
        yield prefix, visible(str(value))
