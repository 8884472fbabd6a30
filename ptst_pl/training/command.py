"""Start the command line: quiet libraries, jsonargparse's messages as one line, processes of other ranks."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TypeVar

from jsonargparse import ArgumentError
from lightning.pytorch.utilities import rank_zero_only

from ptst_pl import InputError, input_error_in
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.config_errors import explain
from ptst_pl.training.config_files import read_config, split_configs
from ptst_pl.training.finetuner import FineTuner
from ptst_pl.training.lightning_cli import TrainingCLI
from ptst_pl.training.run_folders import RUN_FOLDER
from ptst_pl.training.saved_config import SaveRunConfig
from ptst_pl.training.strategies import end_with

# Advice and deprecations of the libraries below that a user can do nothing about.
_NOISE = (
    ".*does not have many workers.*",
    ".*is_gradient_checkpointing. is deprecated.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",
    ".*It is recommended to use .self.log.*sync_dist=True.*",  # the logged losses are sums over the ranks already
    ".*Precision .* is not supported by the model summary.*",
    ".*The `srun` command is available.*",  # on every login node; check_processes looks at the numbers
)


def _quiet() -> None:
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
    # Every rank has the same to tell, so only the first one does.
    level = logging.WARNING if getattr(rank_zero_only, "rank", 0) else logging.INFO
    logging.basicConfig(level=level, format="%(message)s")
    for name in ("httpx", "httpcore", "datasets", "fsspec", "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's advertisements come as log lines with a lamp in front.
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: not record.getMessage().startswith("\N{ELECTRIC LIGHT BULB}"))


Built = TypeVar("Built", bound=TrainingCLI)


def main(argv: Sequence[str]) -> None:
    """Parse and run."""
    run_cli(argv, TrainingCLI)


def run_cli(argv: Sequence[str], cli: type[Built]) -> Built:
    """Parse and run as ``cli`` does; jsonargparse's messages become one line."""
    _quiet()
    sys.argv = [sys.argv[0], *argv]
    for file in split_configs(argv)[0]:
        if file.is_file():
            read_config(file)  # its mistakes in one line each, before the parser sees them
    strict = {"exit_on_error": False}
    inherited = os.environ.get(RUN_FOLDER)
    if inherited is not None:
        end_with(os.getppid())  # started by rank 0
    try:
        return cli(
            FineTuner,
            Task,
            subclass_mode_data=True,
            save_config_callback=SaveRunConfig,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            trainer_defaults={"enable_model_summary": False, "num_sanity_val_steps": 0},
            parser_kwargs=dict.fromkeys(TrainingCLI.subcommands(), strict) | strict,
        )
    except ArgumentError as error:
        raise InputError(explain(str(error), argv, cli.known_keys)) from error
    except ValueError as error:
        raise input_error_in(error) or error from error.__cause__
    finally:
        if inherited is None:
            os.environ.pop(RUN_FOLDER, None)
