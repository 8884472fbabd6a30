"""The runs of a sweep, checked with ``fit``'s own parser before the first of them starts, and what they cost."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from jsonargparse import ArgumentError

from ptst_pl import InputError, input_error_in
from ptst_pl.planning.command import PlanCLI, device_here
from ptst_pl.planning.devices import Device, find_device
from ptst_pl.planning.hours import UTILISATION
from ptst_pl.planning.plan import Run, answers_of, epochs_of, plan
from ptst_pl.results.runs import run_home
from ptst_pl.sweep.expand import SEED, Combination, check_over, expand
from ptst_pl.sweep.findings import Findings
from ptst_pl.sweep.folders import RunFolder
from ptst_pl.sweep.named_files import Contents, Facts
from ptst_pl.tasks.config_errors import explain
from ptst_pl.training.command import run_cli
from ptst_pl.training.lightning_cli import TrainingCLI

SAMPLE = 500  # rows that a run's plan is estimated from


@dataclass(frozen=True)
class PlannedRun:
    """A combination with its whole config.

    Attributes:
        name: of the run and its folder.
        combination: the values that make it what it is.
        config: every key of ``fit``.
        folder: where it lies.
        files: what is in the files that the config names.
    """

    name: str
    combination: Combination
    config: dict[str, Any]
    folder: RunFolder
    files: Facts


@dataclass(frozen=True)
class Cost:
    """Of one run: optimiser steps, answers to generate over all evaluations, and hours where they can be told."""

    steps: int
    answers: int
    hours: float | None


class _Reader(TrainingCLI):
    """Reads and checks the keys; builds nothing."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing runs."""


class Planner:
    """Reads ``fit``'s words once and each combination with them.

    Args:
        words: flags of ``fit``, ``--config`` among them.
        over: lists that replace those of the config's ``sweep`` section, key by key.

    Raises:
        InputError: a wrong key or value, or nothing to sweep over.
    """

    def __init__(self, words: Sequence[str], over: Mapping[str, Any]) -> None:
        self.words = list(words)
        with _quiet():
            self.cli = run_cli(["fit", *self.words], _Reader)
        config = self.cli.config["fit"]
        section = config.get("sweep")
        self.over = check_over({**(dict(section) if section else {}), **over})
        self.folder = run_home(str(config["runs"]), str(config["name"]))

    def runs(self) -> list[PlannedRun]:
        """Every combination.

        Raises:
            InputError: a key or value that ``fit`` does not take, or two runs that come out the same.
        """
        found: list[PlannedRun] = []
        seen: dict[str, str] = {}
        contents = Contents()
        for combination in expand(self.over):
            config = self._config(combination)
            same = yaml.safe_dump({**config, "name": None})
            if same in seen:
                raise InputError(
                    f"sweep: {combination.name} and {seen[same]} come out as the same run; "
                    "do two keys mean the same, or is one of them set again on the command line?"
                )
            seen[same] = combination.name
            folder = RunFolder(self.folder / combination.name)
            found.append(PlannedRun(combination.name, combination, config, folder, contents.of(config)))
        return found

    def _config(self, combination: Combination) -> dict[str, Any]:
        own = ["--name", combination.name, "--runs", str(self.folder)]
        argv = ["fit", *self.words, *combination.words(), *own]
        try:
            parsed = self.cli.parser.parse_args(argv)
        except ArgumentError as error:
            message = explain(str(error), argv, self.cli.known_keys)
            message = re.sub(r"unknown flag --([\w.]+)(=[^;]*)?", r"unknown key '\1'", message)
            raise InputError(f"sweep: {combination.name}: {message}") from error
        except ValueError as error:
            raise input_error_in(error) or error from error.__cause__
        config: dict[str, Any] = yaml.safe_load(self.cli.parser.dump(parsed, skip_none=False))["fit"]
        config.pop("config", None)
        if int(config["trainer"]["num_nodes"]) != 1:
            raise InputError(f"sweep: trainer.num_nodes is {config['trainer']['num_nodes']}, expected 1 for each run")
        return {**config, "sweep": None, "ckpt_path": None}

    def costs(self, runs: Sequence[PlannedRun], device: str | None) -> dict[str, Cost]:
        """Of each run, by name; runs that differ in their seed alone cost the same.

        What is to be warned of is said once for all runs.

        Raises:
            InputError: data, suites or templates that the fit would refuse.
        """
        known: dict[str, Cost] = {}
        found, findings = {}, Findings()
        for run in runs:
            values = {key: value for key, value in run.combination.values.items() if key != SEED}
            group = repr(values)
            if group not in known:
                with findings.of(group):
                    known[group] = self._cost(run, device)
            findings.hold_for(group, run.name)
            found[run.name] = known[group]
        findings.say()
        return found

    def _cost(self, run: PlannedRun, device: str | None) -> Cost:
        before = PlanCLI.at_most
        PlanCLI.at_most = SAMPLE
        try:
            with _quiet():
                cli = run_cli(["fit", *self.words, *run.combination.words()], PlanCLI)
                here = find_device(device) if device else device_here(cli.config["fit"]["trainer"])
                return _count(cli.run(), here)
        except InputError as error:
            raise InputError(f"sweep: {run.name}: {error}") from error
        finally:
            PlanCLI.at_most = before


def _count(run: Run, device: Device) -> Cost:
    """Hours on GPUs alone: the speed of processors differs too much from machine to machine."""
    epoch, _ = epochs_of(run)
    steps = run.training.total_steps(epoch.batches)
    answers = answers_of(run, epoch.batches, steps)
    hours = None if device.name == "cpu" else float(plan(run, device, UTILISATION)["time"]["hours"]["total"])
    return Cost(steps, answers.evaluations * answers.answers if answers else 0, hours)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a fit says of its data is said by the fit."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
