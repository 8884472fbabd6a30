"""Make an edited model from an aligned and a fine-tuned one, tensor by tensor, and write its folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ptst_pl import InputError, __version__
from ptst_pl.model import load_model
from ptst_pl.model.base_identity import EDIT_RECORD
from ptst_pl.model.loading import load_config
from ptst_pl.ship.edits.base import Edit, Layer
from ptst_pl.ship.edits.build import EDITS, arguments_of, build_edit
from ptst_pl.ship.edits.inputs import layer_inputs
from ptst_pl.ship.edits.models import Models, open_models
from ptst_pl.ship.edits.tensors import ShardWriter, linear_names
from ptst_pl.ship.export.command import write_folder
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture_source import build_task
from ptst_pl.tokenization import load_tokenizer, save_tokenizer


def make(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Write one folder, or one for each value of a list such as ``--alpha 0,0.5,1``.

    Args:
        options: of the command.
        more: the edit's own arguments as ``--NAME VALUE`` pairs.

    Raises:
        InputError: models, values or rows that do not fit; or a folder that is not empty.
    """
    name = getattr(options, "with")
    kind = EDITS[name] if arguments_of(name) is not None else Edit
    swept, cases = _cases(name, _pairs(more))
    models = open_models(options.given, kind, options.aligned, vars(options))
    if name == "lora-scale" and "run" in models.record and not (Path(models.record["run"]) / "adapter").is_dir():
        raise InputError("edit: lora-scale scales an adapter, and this run trained in full; use interpolate")
    inputs = _inputs(kind, models, options)
    for arguments in cases:
        edit = build_edit(name, arguments)
        target = options.output / f"{swept}-{arguments[swept]:g}" if swept else options.output
        if (target / EDIT_RECORD).is_file():
            print(f"{target} is there already")
            continue
        if target.is_dir() and any(target.iterdir()):
            raise InputError(f"edit: --output {target} is not empty; nothing is overwritten, give a new folder")
        record = {"edit": name, **edit.record(), **_trained_under(models), "made_of": models.record}
        record["ptst_pl"] = __version__

        def write(folder: Path, edit: Edit = edit, record: dict[str, Any] = record) -> None:
            _write(folder, edit, models, inputs, options.dtype)
            record |= {"notes": edit.notes()}
            (folder / EDIT_RECORD).write_text(json.dumps(record, indent=2) + "\n")
            (folder / "README.md").write_text(_readme(name, edit, models))

        write_folder(target, write)
        told = ", ".join(f"{key} {value}" for key, value in edit.notes().items())
        print(f"wrote {target}{f' ({told})' if told else ''}")


def _pairs(words: Sequence[str]) -> dict[str, str]:
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"edit: expected --NAME VALUE pairs for the edit's arguments, found {' '.join(words)!r}")
    keys = (word.removeprefix("--").replace("-", "_") for word in words[::2])
    return dict(zip(keys, words[1::2], strict=True))


def _cases(name: str, pairs: Mapping[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """The argument with a list of values, if there is one, and the arguments of every edit to make."""
    values = {key: [_value(key, part) for part in text.split(",")] for key, text in pairs.items()}
    several = [key for key, found in values.items() if len(found) > 1]
    if len(several) > 1:
        raise InputError(f"edit: only one argument may have a list of values, found {' and '.join(several)}")
    swept = several[0] if several else ""
    fixed = {key: found[0] for key, found in values.items() if key != swept}
    cases = [fixed | {swept: value} for value in values[swept]] if swept else [fixed]
    for case in cases:
        build_edit(name, case)  # mistakes show before anything is read
    return swept, cases


def _value(key: str, text: str) -> Any:
    found = yaml.safe_load(text)
    if text.strip().lower() in ("inf", "infinity"):
        return float("inf")
    if not isinstance(found, int | float | str | bool):
        raise InputError(f"edit: --{key} is {text!r}, expected a number or a word")
    return found


def _inputs(kind: type[Edit], models: Models, options: argparse.Namespace) -> dict[str, Tensor]:
    if not kind.rows:
        return {}
    if not options.rows:
        raise InputError(f"edit: --rows is missing: this edit looks at {kind.rows} rows, such as a JsonLines task")
    task = _task(options, models)
    model = load_model(models.pretrained, "float32", adapter=models.adapter)
    return layer_inputs(model, task.rows("train")[: options.limit], task.encoder.pad_id)


def _task(options: argparse.Namespace, models: Models) -> Task:
    spec = yaml.safe_load(options.rows)
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, dict) or "class_path" not in spec:
        raise InputError(f"edit: --rows is {options.rows!r}, expected a task: class_path and init_args")
    shared = {
        "template": options.template, "chat_format": str(models.config.get("chat_format") or options.chat_format),
        "tokenizer": str(models.config.get("tokenizer") or models.pretrained),
    }  # fmt: skip
    return build_task(str(spec["class_path"]), {**shared, **(spec.get("init_args") or {})}, "edit: --rows")


def layers(models: Models, inputs: Mapping[str, Tensor]) -> Any:
    """Every tensor of the models, one after the other; no more than one of each model is in memory."""
    linear = set(linear_names(models.aligned))
    for name in models.aligned.names():
        yield Layer(
            name,
            models.aligned.get(name),
            models.tuned.get(name),
            {what: other.get(name) for what, other in models.others.items()},
            inputs.get(name),
            name in linear and models.aligned.get(name).ndim == 2,
        )


def _write(folder: Path, edit: Edit, models: Models, inputs: Mapping[str, Tensor], dtype: str) -> None:
    if edit.looks:
        for layer in layers(models, inputs):
            edit.look(layer)
    writer, kind = ShardWriter(folder), getattr(torch, dtype)
    for layer in layers(models, inputs):
        edited = edit.apply(layer)
        if not torch.isfinite(edited).all():
            raise InputError(f"edit: {layer.name} is not finite after the edit; look at the models' weights")
        writer.add(layer.name, edited.to(kind))
    writer.close()
    config = load_config(models.pretrained)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    config.dtype = kind
    config.save_pretrained(str(folder))
    save_tokenizer(load_tokenizer(str(models.config.get("tokenizer") or models.pretrained)), folder)


def _trained_under(models: Models) -> dict[str, str]:
    """The training template of the run that is edited, where it is one."""
    found = ((models.config.get("data") or {}).get("init_args") or {}).get("template")
    return {"train_template": str(found)} if found else {}


def _readme(name: str, edit: Edit, models: Models) -> str:
    told = "\n".join(f"- {key}: {value}" for key, value in {**edit.record(), **edit.notes()}.items())
    made = "\n".join(f"- {what}: {_named(found)}" for what, found in models.record.items())
    return (
        f"# Edited weights\n\nMade by `ptst_pl edit --with {name}` ({edit.source}); {EDIT_RECORD} holds it as data.\n\n"
        f"{told}\n\nMade of\n\n{made}\n\nHow safe it is has to be measured: `ptst_pl test --model.pretrained DIR`.\n"
    )


def _named(found: Any) -> str:
    return str(found.get("name") if isinstance(found, dict) else found)
