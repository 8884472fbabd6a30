"""The models that an edit is made of, from a run or from folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError
from ptst_pl.model.base_identity import base_identity
from ptst_pl.results.runs import newest_version
from ptst_pl.ship.edits.base import Edit
from ptst_pl.ship.edits.tensors import AdaptedWeights, Weights, check_alike, open_weights


@dataclass
class Models:
    """Aligned, fine-tuned and further models, none of them in memory.

    Attributes:
        aligned: before fine-tuning.
        tuned: after it; the aligned one where the edit needs no other.
        others: by the edit's names for them.
        pretrained: where config and tokenizer are from.
        adapter: that was merged into ``pretrained`` first.
        config: of the run; empty where folders were given.
        record: what they are.
    """

    aligned: Weights
    tuned: Weights
    others: dict[str, Weights]
    pretrained: str
    adapter: str | None
    config: Mapping[str, Any]
    record: dict[str, Any] = field(default_factory=dict)


def open_models(given: Path, kind: type[Edit], aligned: str | None, others: Mapping[str, str | None]) -> Models:
    """Open what an edit needs.

    Args:
        given: a run folder, or a fine-tuned model's (with ``aligned``), or the aligned model's for edits before tuning.
        kind: the edit.
        aligned: folder or hub name of the aligned model, where ``given`` is no run.
        others: folders of further models, by the edit's names for them.

    Raises:
        InputError: something is missing, or the models are not alike.
    """
    for what in kind.others:
        if not others.get(what):
            raise InputError(f"edit: --{what} is missing: this edit needs that model's folder")
    more = {what: open_weights(str(others[what])) for what in kind.others}
    run = _run_folder(given)
    if not kind.needs_tuned:
        folder = str(given)
        own = open_weights(folder)
        models = Models(own, own, more, folder, None, {}, {"aligned": base_identity(folder)})
    elif run is None:
        if not aligned:
            raise InputError(f"edit: {given} is no run of fit; give --aligned FOLDER, what it was fine-tuned from")
        before, after = open_weights(aligned), open_weights(str(given))  # which refuses what is damaged
        names = {"aligned": base_identity(aligned), "tuned": base_identity(str(given))}
        models = Models(before, after, more, aligned, None, {}, names)
    else:
        models = _of_run(run, more)
    check_alike({"the aligned model": models.aligned, "the fine-tuned model": models.tuned, **more})
    models.record |= {what: base_identity(str(others[what])) for what in kind.others}
    return models


def _run_folder(given: Path) -> Path | None:
    for folder in (given, newest_version(given) if given.is_dir() else given):
        if (folder / "config.yaml").is_file():
            return folder
    return None


def _of_run(run: Path, more: dict[str, Weights]) -> Models:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(config, dict) or "model" not in config:
        raise InputError(f"edit: {run / 'config.yaml'} is no config of fit: it has no section 'model'")
    pretrained, adapter = str(config["model"]["pretrained"]), config["model"].get("adapter")
    aligned = open_weights(pretrained, adapter)
    if (run / "adapter").is_dir():
        tuned: Weights = AdaptedWeights(aligned, run / "adapter")
    elif (run / "model").is_dir():
        tuned = open_weights(str(run / "model"))
    else:
        raise InputError(f"edit: {run} has neither model/ nor adapter/: the fit has not come to its end")
    record = {"aligned": base_identity(pretrained, adapter=adapter), "run": str(run)}
    return Models(aligned, tuned, more, pretrained, adapter, config, record)
