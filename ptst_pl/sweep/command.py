"""``ptst_pl sweep``: fits of every combination of some keys; finished ones are skipped, broken ones go on."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.results.arguments import Parser
from ptst_pl.results.runs import versions
from ptst_pl.sweep.board import board, table
from ptst_pl.sweep.expand import read_over
from ptst_pl.sweep.locks import holder, take
from ptst_pl.sweep.loop import GOING, Item, Launcher, Sweep, stored_jobs
from ptst_pl.training import slurm

if TYPE_CHECKING:
    from ptst_pl.sweep.plans import Cost, PlannedRun

LAUNCHERS = ("local", "slurm", "local-submitit")
FORMAT = 1
BUSY = "{path}: {holder} runs this sweep; wait for it, or end it and give the command again"


def _parser() -> Parser:
    parser = Parser(
        prog="ptst_pl sweep",
        allow_abbrev=False,
        usage="ptst_pl sweep --config CONFIG [--over KEY=[A,B]] [--jobs N] [--launcher NAME] [--dry-run] [keys of fit]",
        description="Fit every combination of the values in the config's section 'sweep: {key: [values]}'. Each run "
        "has its own process and the folder <runs>/<name>/<run>/. Given again, it skips finished runs and goes on "
        "with broken ones. Takes every key that fit takes (ptst_pl fit --help).",
    )
    parser.add_argument("--over", action="append", default=[], metavar="KEY=[A,B]", help="another key, or other values")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time; else one, one per GPU, or all (slurm)")
    parser.add_argument("--launcher", default="local", metavar="NAME", help=f"{', '.join(LAUNCHERS)}")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="of the jobs: partition, time in minutes, mem"
    )
    parser.add_argument("--device", help="GPU to estimate hours for; names: ptst_pl plan --help")
    parser.add_argument("--dry-run", action="store_true", help="only print what would run, and its cost")
    return parser


def main(argv: Sequence[str]) -> None:
    """Plan, print, run, report."""
    options, words = _parser().parse_known_args(list(argv[1:]))
    if options.launcher not in LAUNCHERS:
        hint = did_you_mean(options.launcher, LAUNCHERS)
        raise InputError(f"sweep: --launcher {options.launcher}: expected one of {', '.join(LAUNCHERS)}{hint}")
    if options.slurm and options.launcher != "slurm":
        raise InputError("sweep: --slurm is for --launcher slurm")
    if not any(word.split("=")[0] in ("-c", "--config") for word in words):
        raise InputError("sweep: --config is missing; give the config of a fit")
    over = read_over(options.over)
    # Lightning takes seconds to import: only once the flags are known to be right.
    from ptst_pl.sweep.plans import Planner

    planner = Planner(words, over)
    runs = planner.runs()
    launcher = _launcher(options, planner.folder, runs)
    _check_folder(planner.folder, runs)
    items = [Item(run.name, run.folder, run.combination.values, run.config, run.files) for run in runs]
    for item in items:
        item.state = "done" if item.folder.is_finished() else "waiting"
    todo = {item.name for item in items if item.state == "waiting"}
    costs = planner.costs([run for run in runs if run.name in todo], options.device)
    _print_plan(planner.folder, items, costs)
    if not options.dry_run:
        facts = {"format": FORMAT, "command": ["ptst_pl", *argv], "over": planner.over}
        _run(planner.folder, items, launcher, facts)


def _launcher(options: argparse.Namespace, folder: Path, runs: Sequence[PlannedRun]) -> Launcher:
    from ptst_pl.sweep.local import Local, places

    if options.launcher == "local":
        return Local(places([run.config["trainer"] for run in runs], options.jobs))
    from ptst_pl.sweep.submitted import Submitted

    return Submitted(folder / "submitit", options.launcher, options.jobs, options.slurm)


def _check_folder(folder: Path, runs: Sequence[PlannedRun]) -> None:
    """Raises ``InputError`` where the folder is a run's, or holds runs that were made otherwise than planned."""
    if versions(folder):
        raise InputError(f"{folder} is the folder of a run, not of a sweep; give the sweep another --name")
    for run in runs:
        difference = run.folder.changed(run.config)
        if difference:
            raise InputError(
                f"{difference}: the run was made with other settings, and its results are not those of this sweep; "
                f"give the sweep another --name, or delete {run.folder.path}"
            )
        if file := run.folder.changed_file(run.files):
            raise InputError(
                f"{file}, and its results are not those of this sweep; give the sweep another --name or --runs, "
                f"put the old file back, or delete {run.folder.path}"
            )


def _print_plan(folder: Path, items: Sequence[Item], costs: dict[str, Cost]) -> None:
    """Every run, and what is left to do: at most, as a run that goes on has done a part of it."""
    for item in items:
        item.steps = costs[item.name].steps if item.name in costs else 0
    counts = {name: (cost.steps, cost.answers, cost.hours) for name, cost in costs.items()}
    print(f"sweep of {len(items)} runs in {folder}")
    for item in items:
        state = "done" if item.state == "done" else "to go on" if item.folder.version else "to run"
        steps, answers, _ = counts.get(item.name, (0, 0, None))
        print(f"  {item.name:<{max(len(i.name) for i in items)}}  {state:<8}" + _cost(steps, answers, state))
    steps, answers = sum(cost.steps for cost in costs.values()), sum(cost.answers for cost in costs.values())
    hours = [cost.hours for cost in costs.values()]
    time = f", about {sum(h or 0 for h in hours):.1f} device hours" if hours and None not in hours else ""
    print(f"to do: {len(costs)} of {len(items)} runs, {steps:,} steps, {answers:,} answers at most{time}", flush=True)


def _cost(steps: int, answers: int, state: str) -> str:
    return "" if state == "done" else f"  {steps:,} steps, {answers:,} answers"


def _run(folder: Path, items: Sequence[Item], launcher: Launcher, facts: dict[str, Any]) -> None:
    """Run what is left; exit with 1 where a run failed, 130 after Ctrl-C."""
    lock = take(folder / "sweep.lock", BUSY)
    for item in items:  # another sweep may have ended between the look and the lock
        item.state = "done" if item.folder.is_finished() else "waiting"
    _take_up(folder, items, launcher)
    with board() as shown:
        sweep = Sweep(folder, items, launcher, shown, facts)
        left = sweep.go()
    os.close(lock)
    again = shlex.join(facts["command"])
    print(f"\n{table(items)}")
    print("\n".join(f"log of {item.name}: {item.folder.log}" for item in items if item.state == "failed"), end="\n")
    if sweep.signals:
        print("\n".join([*left, f"stopped; go on with: {again}"]))
        sys.exit(130)
    _report([item for item in items if item.state == "done"], folder)
    failed = [item for item in items if item.state != "done"]
    if failed:
        print(f"{len(failed)} of {len(items)} runs failed; see {failed[0].folder.log}; try them again with: {again}")
        sys.exit(1)


def _take_up(folder: Path, items: Sequence[Item], launcher: Launcher) -> None:
    """Jobs of an earlier sweep that have not ended are waited for.

    Raises:
        InputError: they are in a queue of SLURM that this launcher does not look at.
    """
    for item in items:
        job = stored_jobs(folder).get(item.name, {})
        if item.state == "done" or not job.get("id") or job.get("launcher") == "local":
            continue
        known = getattr(launcher, "take_up", None)
        if known is not None and job["launcher"] == launcher.name:
            if known(item.name, job["id"]):
                item.state, item.job = "queued", job
        elif job["launcher"] == "slurm" and slurm.is_alive(job["id"]) and not holder(item.folder.lock):
            raise InputError(
                f"sweep: {item.name} is SLURM job {job['id']}, which has not ended: wait for it, end it with "
                f"scancel {job['id']}, or give --launcher slurm"
            )
    assert all(item.state not in GOING or item.job for item in items)


def _report(done: Sequence[Item], folder: Path) -> None:
    """The train x test tables of the finished runs, and the command for the page."""
    found = [item for item in done if item.folder.rates()]
    if found:
        from ptst_pl.report.command import main as report

        print()
        report(["report", *(str(item.folder.path) for item in found)])
        print(
            f"\nas a page: ptst_pl report {shlex.quote(str(folder))} --html {shlex.quote(str(folder / 'report.html'))}"
        )
