"""``ptst_pl plan``: what a run needs, from the config of ``fit`` and without loading weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from ptst_pl import InputError
from ptst_pl.planning.batch_paths import path_of
from ptst_pl.planning.devices import DEVICES, Device, find_device
from ptst_pl.planning.hours import UTILISATION
from ptst_pl.planning.plan import Run, plan
from ptst_pl.planning.plan_text import as_text
from ptst_pl.planning.settings import read_training
from ptst_pl.planning.tokens import Sample, draw_sample
from ptst_pl.results.arguments import Parser
from ptst_pl.training.command import run_cli
from ptst_pl.training.defended import defend
from ptst_pl.training.finetuner import FineTuner
from ptst_pl.training.lightning_cli import TrainingCLI

SAMPLE = 20_000  # rows encoded in about a minute


class PlanCLI(TrainingCLI):
    """Reads and checks everything that ``fit`` reads, and stops before a folder, a trainer or a weight is there."""

    at_most: ClassVar[int] = SAMPLE

    def instantiate_classes(self) -> None:
        """Build the data module and the settings of the model; encode the rows, or a sample of them."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule, self.model = self._get(self.config_init, "data"), self._get(self.config_init, "model")
        defend(self._tuner, self.task, self.safety, self.config["fit"])
        if self._tuner.defence.generates:  # which would need the weights
            self.task.change = None
        self.sample: Sample = draw_sample(self.task, type(self).at_most)
        self._check()

    def _check_model(self, model: Any) -> None:
        """Nothing: weights are not loaded."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing runs."""

    def run(self) -> Run:
        """What is planned."""
        assert isinstance(self.model, FineTuner)
        self.model.path = path_of(self.model)
        training = read_training(self.config["fit"]["trainer"])
        return Run(self.model, self.task, self.safety, training, self.sample)


def _parser() -> Parser:
    parser = Parser(
        prog="ptst_pl plan",
        allow_abbrev=False,
        usage="ptst_pl plan --config CONFIG [--device NAME] [--utilisation U] [--sample N] [--json] [keys of fit]",
        description="Parameters, tokens, memory, operations and hours of a fit, without loading weights. Takes "
        "every key that fit takes (ptst_pl fit --help).",
    )
    known = ", ".join(("cpu", *DEVICES))
    parser.add_argument("--device", help=f"{known}; by default what is here, or a100-80")
    parser.add_argument("--utilisation", type=float, default=UTILISATION, help="share of the peak that is reached")
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="training rows to encode at most")
    parser.add_argument("--json", action="store_true", help="print JSON: sizes in bytes, times in hours")
    return parser


def main(argv: Sequence[str]) -> None:
    """Read, count, print."""
    options, others = _parser().parse_known_args(argv[1:])
    if not 0 < options.utilisation <= 1:
        raise InputError(f"plan: --utilisation is {options.utilisation}, expected a share above 0 and up to 1")
    if options.sample < 1:
        raise InputError(f"plan: --sample is {options.sample}, expected a number of rows above 0")
    if options.device:
        find_device(options.device)  # a wrong name shows before rows are read
    PlanCLI.at_most = options.sample
    PlanCLI.known_keys = [*TrainingCLI.known_keys, "device", "utilisation", "sample", "json"]
    cli = run_cli(["fit", *others], PlanCLI)
    device = find_device(options.device) if options.device else device_here(cli.config["fit"]["trainer"])
    found = plan(cli.run(), device, options.utilisation)
    print(json.dumps(found, indent=1) if options.json else as_text(found), end="\n" if options.json else "")


def device_here(trainer: Any) -> Device:
    """The GPU of this machine if the table has it, the processor if the config asks for it, or else an A100."""
    if trainer["accelerator"] == "cpu":
        return find_device("cpu")
    name = torch.cuda.get_device_name().lower() if torch.cuda.is_available() else ""
    memory = torch.cuda.get_device_properties(0).total_memory if name else 0
    here = [d for d in DEVICES.values() if d.title.split()[1].lower() in name and abs(d.memory / memory - 1) < 0.1]
    return here[0] if here else find_device("a100-80")
