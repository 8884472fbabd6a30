"""The second process of a fit with ``safety.beside``: evaluates the weights that the fit hands over, one after another.

Started by ``ptst_pl.training.callbacks.beside``, which writes the names of the files to its standard input. For every
one it prints ``done`` and the step. It ends with its standard input, or with the fit's process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.defences import Defence
from ptst_pl.training.callbacks.beside import DONE
from ptst_pl.training.command import run_cli
from ptst_pl.training.lightning_cli import TrainingCLI

# Of the fit's config, what is not for one process that evaluates.
INSTEAD = {
    "ckpt_path": "null",
    "held_out_loss": "false",
    "safety.beside": "false",
    "trainer.devices": "1",
    "trainer.num_nodes": "1",
    "trainer.strategy": "auto",
    "trainer.logger": "null",
    "trainer.callbacks": "null",
    "trainer.enable_progress_bar": "false",
}


class Follower(TrainingCLI):
    """``test`` of one file after the other, with the results and curves where the fit itself would write them."""

    def before_instantiate_classes(self) -> None:
        """The run has its config."""
        self.save_config_callback = None

    def _run_subcommand(self, subcommand: str) -> None:
        self.safety.results_folder, self.safety.following = self.folder / "safety", True
        self._tuner.defence = Defence()  # what is handed over are the weights that a defence ships
        self.task.held_out_in_test = False
        for line in sys.stdin:
            file = Path(line.rstrip("\n"))
            self.trainer.test(self._tuner, datamodule=self.task, ckpt_path=str(file), verbose=False)
            print(DONE, self._tuner.loaded_step, flush=True)


def main() -> None:
    """Follow with the config that is named on the command line."""
    flags = [f"--{key}={value}" for key, value in INSTEAD.items()]
    try:
        run_cli(["test", "--config", sys.argv[1], *flags], Follower)
    except InputError as error:
        sys.exit(f"ptst_pl: error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
