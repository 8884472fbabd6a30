"""The config of a run, kept in its folder."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import SaveConfigCallback

from ptst_pl.results.records import write_text
from ptst_pl.training.callbacks.folder import run_folder


class SaveRunConfig(SaveConfigCallback):
    """The complete config beside the results; a resumed run keeps the first and adds its own."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Not used: ``setup`` writes."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Write ``config.yaml``, or ``config-<k>.yaml`` where one with other content is there."""
        if self.already_saved or not trainer.is_global_zero or stage in ("validate", "predict"):
            return
        self.already_saved = True
        text = self.parser.dump(self.config, skip_none=False)
        folder = run_folder(trainer)
        target, number = folder / "config.yaml", 1
        while target.exists() and target.read_text(encoding="utf-8") != text:
            target, number = folder / f"config-{number}.yaml", number + 1
        write_text(target, text)
