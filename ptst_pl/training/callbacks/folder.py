"""Where a run writes."""

from __future__ import annotations

from pathlib import Path

from lightning import Trainer


def run_folder(trainer: Trainer) -> Path:
    """The logger's folder, else the trainer's root folder.

    Unlike ``trainer.log_dir`` this is no collective call, so that one rank alone may ask.
    """
    own = trainer.logger.log_dir if trainer.logger is not None else None
    return Path(own or trainer.default_root_dir)
