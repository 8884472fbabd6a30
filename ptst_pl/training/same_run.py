"""A command that starts from a checkpoint goes on with the same thing, or ends with a line that says what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptst_pl.evaluation.evaluate import Evaluation
from ptst_pl.model.sharding.files import read_checkpoint
from ptst_pl.results.identity import Record, check_same
from ptst_pl.results.records import ResultsFolder
from ptst_pl.tasks.base import Task
from ptst_pl.training.finetuner import FineTuner

_OTHER_RUN = "go on as before, or begin another run under another --name"
# Which engine answered, and in which slots, changes nothing but the last bits.
_ROUNDING = ("backend",)


def stored_identity(checkpoint: str | None) -> Record:
    """The record in a checkpoint; of an older version's, what the task says of itself; empty without a checkpoint."""
    if not checkpoint:
        return {}
    contents = read_checkpoint(Path(checkpoint), tensors=False)
    found = contents.get("identity")
    if found:
        return dict(found)
    states = [state for state in contents.values() if isinstance(state, dict)]
    old = next((state for state in states if {"template", "chat_format"} <= state.keys()), None)
    return {"training": {"template": {"name": old["template"]}, "chat_format": old["chat_format"]}} if old else {}


def trained_under(stored: Record) -> str:
    """Name of the training template; empty where nothing says it."""
    template = (stored.get("training") or {}).get("template") or {}
    return str(template.get("name", ""))


def check_resumed(checkpoint: str, stored: Record, tuner: FineTuner, task: Task, evaluation: Evaluation | None) -> None:
    """Check that a fit goes on as it began: base, training text and rows, optimiser, and what its curve is made of.

    Raises:
        InputError: one line that names what differs.
    """
    now = {"base": tuner.base(), "training": tuner.identity() | task.identity()}
    check_same(f"--ckpt_path {checkpoint}", stored, now, _OTHER_RUN)
    results = ResultsFolder(Path(checkpoint).parent / "safety")
    if evaluation is not None and results.steps():
        before, here = _safety(results.stored()), _safety(evaluation.meta())
        # Judges that were added to the stored answers later are no part of the curve.
        before["judges"] = {name: value for name, value in before["judges"].items() if name in here["judges"]}
        for record in (before, here):
            record["names"] = {kind: sorted(record[kind]) for kind in ("templates", "suites", "judges")}
        check_same(f"safety, {results.path}", {"safety": before}, {"safety": here}, _OTHER_RUN)


def _safety(meta: Mapping[str, Any]) -> dict[str, Any]:
    suites = {name: suite.get("sha256") for name, suite in (meta.get("suites") or {}).items()}
    decoding = {key: value for key, value in (meta.get("decoding") or {}).items() if key not in _ROUNDING}
    kept = {key: dict(meta.get(key) or {}) for key in ("templates", "judges")}
    return {
        "suites": suites,
        "decoding": decoding,
        "chat_format": meta.get("chat_format"),
        "chat_options": meta.get("chat_options"),
        **kept,
    }


def check_evaluated(
    checkpoint: str, stored: Record, tuner: FineTuner, task: Task, evaluation: Evaluation | None = None
) -> None:
    """Check that a checkpoint is evaluated on its own base, chat format and, under that name, its own template.

    Raises:
        InputError: one line that names what differs.
    """
    where = f"--ckpt_path {checkpoint}"
    form = {"chat_format": task.chat_format, "chat_options": task.chat_options.record()}
    check_same(
        where, stored, {"base": tuner.base(), "training": form},
        "evaluate it as it was trained; another base or format is another run, under another --name",
    )  # fmt: skip
    tested = [cell.template for cell in evaluation.cells] if evaluation else [task.template]
    name = trained_under(stored)
    for template in tested:
        if template.name == name:
            now = {"training": {"template": asdict(template)}}
            check_same(where, stored, now, f"{name!r} is the training template's name: give another text another name")
