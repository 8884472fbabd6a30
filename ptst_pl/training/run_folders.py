"""Which checkpoint a command starts from, and which folder it writes to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ptst_pl import InputError
from ptst_pl.model.sharding.files import read_checkpoint
from ptst_pl.results.disk.checkpoint_files import adopt
from ptst_pl.results.runs import LAST, find_checkpoint, new_version, run_home
from ptst_pl.training import slurm

log = logging.getLogger(__name__)
RUN_FOLDER = "PTST_PL_RUN_FOLDER"  # handed to the processes of the other ranks


def home_of(config: Any) -> Path:
    """The folder of all versions of a run, from its config."""
    return run_home(str(config["runs"]), str(config["name"]))


def starting_checkpoint(config: Any, command: str) -> Path | None:
    """The checkpoint that ``ckpt_path`` means; None where it means none, or a fit begins at its beginning.

    Raises:
        InputError: there is none, and the command needs one.
    """
    given, home = config.get("ckpt_path"), home_of(config)
    before = slurm.own_folder(home) if command == "fit" else None
    if before and (before / LAST).exists():
        log.info("a requeued SLURM job: going on with its own run in %s", before)
        given = str(before / LAST)
    checkpoint = find_checkpoint(given, home, command == "fit") if given else None
    if given and checkpoint is None and command != "fit":
        raise InputError(f"--ckpt_path last: no run below {home} has a checkpoint yet")
    if given and checkpoint is None:
        log.info("the newest run below %s has no checkpoint yet: starting from the beginning", home)
    return checkpoint


def claim_folder(home: Path, command: str, checkpoint: Path | None, results: Callable[[], Path]) -> Path:
    """Where a command writes: a new version, the resumed run's own, or a results folder; known to ranks started later.

    Args:
        home: of all versions of the run.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        checkpoint: what the command starts from.
        results: finds the folder of ``test``.
    """
    if RUN_FOLDER in os.environ:
        return Path(os.environ[RUN_FOLDER])
    if getattr(rank_zero_only, "rank", 0):
        return home  # started by torchrun or SLURM: only rank 0 writes, and only it makes a folder
    folder = _fit_folder(home, checkpoint) if command == "fit" else results() if command == "test" else home
    os.environ[RUN_FOLDER] = str(folder)
    return folder


def _fit_folder(home: Path, checkpoint: Path | None) -> Path:
    if checkpoint is not None and checkpoint.parent.parent.resolve() == home.resolve():
        folder = checkpoint.parent
        adopt(checkpoint)
    else:
        folder = new_version(home)
    slurm.claim(folder)
    return folder


def step_of(checkpoint: str) -> int:
    """The optimiser step that a checkpoint was written after."""
    return int(_read_checkpoint(checkpoint)["global_step"])


def _read_checkpoint(checkpoint: str) -> dict[str, Any]:
    return read_checkpoint(Path(checkpoint), tensors=False)
