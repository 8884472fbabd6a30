"""``fit``, ``validate``, ``test`` and ``predict`` on the command line."""

from ptst_pl.training_cli.command import TrainingCLI
from ptst_pl.training_cli.start import main, run_cli

__all__ = ["TrainingCLI", "main", "run_cli"]
