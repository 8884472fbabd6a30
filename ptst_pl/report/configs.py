"""The configs beside results, where they were copied along, and how runs of one sweep differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptst_pl.results.records import USUAL

Config = Mapping[str, Any]
# What makes another training than the same one with another seed; the template has its own place in a table.
_TRAINING = ("model", "data", "stop", "templates", "chat_format", "chat_options", "trainer")
_OF_TRAINER = ("max_steps", "max_epochs", "precision", "gradient_clip_val", "accumulate_grad_batches")
_NOT = ("data.init_args.template", "data.init_args.seed", "data.init_args.tokenizer")
NO_DEFENCE = "none"
# Of the model before any training.
_UNTRAINED = ("model.pretrained", "model.adapter", "model.quantize", "chat_format", "chat_options")


def config_file(results: Path) -> Path | None:
    """The config of the command that wrote a results.json; None where it was not copied along."""
    folders = (results.parent.parent,) if results.parent.name == "safety" else (results.parent,)
    return next((folder / "config.yaml" for folder in folders if (folder / "config.yaml").is_file()), None)


def read_config(path: Path | None) -> dict[str, Any]:
    """A config as a mapping; empty where there is none or it cannot be read."""
    if path is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def training_config(results: Path, own: Config) -> Config:
    """The config of the training: the same as the evaluation's for the curve of a fit, else the checkpoint's."""
    checkpoint = own.get("ckpt_path")
    if results.parent.name == "safety" or not checkpoint:
        return own
    # <run>/test/version_<k>/results.json; copied folders keep their shape.
    places = (results.parent.parent.parent / "config.yaml", Path(str(checkpoint)).parent / "config.yaml")
    return next((found for place in places if place.is_file() and (found := read_config(place))), {})


def get(config: Config, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    found: Any = config
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def variants(configs: Sequence[Config]) -> list[tuple[str, str]]:
    """How each run differs from the others: for its training, and for the model that it started from.

    Runs that differ in more than template and seed are no repetitions of each other, and must not be averaged.

    Returns:
        Per config, ``"model.method=lora"`` and its like, or empty strings.
    """
    labels = defence_labels([_defence(config) for config in configs])
    flat = [
        dict(_leaves(config)) | {"defence": label} if config else {}
        for config, label in zip(configs, labels, strict=True)
    ]
    told = [one for one in flat if one]
    keys = dict.fromkeys(key for one in told for key in one)
    differing = [key for key in keys if len({repr(one.get(key)) for one in told}) > 1]
    return [
        (_words(one, differing), _words(one, [key for key in differing if key in _UNTRAINED])) if one else ("", "")
        for one in flat
    ]


def _defence(config: Config) -> Mapping[str, Any]:
    found = config.get("defence") or NO_DEFENCE
    return found if isinstance(found, Mapping) else {"name": found}


def defence_labels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names, and the arguments in which defences of one name differ."""
    labels = []
    for record in records:
        name = str(record.get("name", NO_DEFENCE))
        alike = [other for other in records if other.get("name", NO_DEFENCE) == name]
        if name == NO_DEFENCE:
            labels.append(name)
            continue
        differing = [key for key in record if len({json.dumps(other.get(key), sort_keys=True) for other in alike}) > 1]
        told = ", ".join(f"{key} {record[key]}" for key in differing)
        labels.append(f"{name} ({told})" if told else name)
    return labels


def _words(one: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key.replace('.init_args', '')}={_short(one.get(key))}" for key in keys)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"


def _leaves(config: Config, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        path = f"{before}{key}"
        if not before and key not in _TRAINING:
            continue
        if before == "trainer." and key not in _OF_TRAINER:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        elif path not in _NOT and not (before == "chat_options." and value == USUAL.get(key)):
            yield path, value
