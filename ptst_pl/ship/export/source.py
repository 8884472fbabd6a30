"""What is exported: a run's config and one of its checkpoints, as plain data."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError
from ptst_pl.model.sharding.files import is_sharded_folder, read_checkpoint
from ptst_pl.results.disk.intact import damage
from ptst_pl.results.runs import LAST, newest_version

_KEYS = ("model", "data", "chat_format")


@dataclass(frozen=True)
class Source:
    """A run folder, its config, and the checkpoint's contents."""

    folder: Path
    checkpoint: Path
    config: Mapping[str, Any]
    contents: Mapping[str, Any]

    @property
    def step(self) -> int:
        """The checkpoint's optimiser step."""
        return int(self.contents["global_step"])

    @property
    def model(self) -> Mapping[str, Any]:
        """The model section of the config."""
        found: Mapping[str, Any] = self.config["model"]
        return found

    @property
    def train_template(self) -> str:
        """Name of the template that the run was trained under."""
        return str(self.config["data"]["init_args"]["template"])

    @property
    def tokenizer(self) -> str:
        """Folder or hub name of the tokenizer."""
        return str(self.config.get("tokenizer") or self.model["pretrained"])


def find_source(path: Path, command: str = "export") -> Source:
    """The run and checkpoint that a path means.

    Args:
        path: a checkpoint, file or folder, a run's version folder, or the folder of its versions, of which the
            newest counts; a folder stands for its ``last.ckpt``.
        command: whose error it would be.

    Raises:
        InputError: no checkpoint or no config there, or none that a fit wrote.
    """
    given = path.is_file() or is_sharded_folder(path)
    folder = path.parent if given else newest_version(path)
    checkpoint = path if given else folder / LAST
    if not (checkpoint.is_file() or is_sharded_folder(checkpoint)):
        raise InputError(f"{command}: {checkpoint}: no such file; give a run folder with {LAST}, or a checkpoint")
    return Source(folder, checkpoint, _config(folder / "config.yaml", command), _contents(checkpoint, command))


def _config(path: Path, command: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError(f"{command}: {path}: no such file; the checkpoint must lie in the folder of its run")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{command}: {path}: no YAML ({error})") from error
    missing = [key for key in _KEYS if not isinstance(config, Mapping) or key not in config]
    if missing:
        raise InputError(f"{command}: {path}: no key {missing[0]!r}; expected the config.yaml that 'fit' writes")
    found: Mapping[str, Any] = config
    return found


def _contents(path: Path, command: str) -> Mapping[str, Any]:
    try:
        contents = read_checkpoint(path, optimizers=False)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{command}: {path}: no checkpoint of 'fit' ({reason})") from error
    if not isinstance(contents, Mapping) or not {"state_dict", "global_step"} <= set(contents):
        raise InputError(f"{command}: {path}: no checkpoint of 'fit' (no state_dict or global_step in it)")
    damaged = damage(path)  # which reading does not notice
    if damaged:
        raise InputError(f"{command}: {path} is damaged ({damaged}); give another checkpoint")
    found: Mapping[str, Any] = contents
    return found
