"""What the arguments of ``report`` mean: runs, results folders, and sweeps, which are folders of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.report.configs import training_config, variants
from ptst_pl.report.runs import RunResults, load_run, results_file
from ptst_pl.results.identity import UNKNOWN
from ptst_pl.results.runs import newest_version, versions


@dataclass
class Found:
    """The runs, and what is missing among them, a line each."""

    runs: list[RunResults] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_runs(paths: Sequence[Path]) -> Found:
    """Every run that the paths mean, each once.

    A path with results, or whose newest version has them, is a run; else it is a sweep, and the runs are the
    folders in it. A run of a sweep without results is said to be missing, and no reason to stop.

    Raises:
        InputError: no results below a path, or results that cannot be read.
    """
    found = Found()
    for path in paths:
        _find(path, found)
    once: dict[Path, RunResults] = {}
    for run in found.runs:
        if once.setdefault(run.file.resolve(), run) is not run:
            found.missing.append(f"{run.path}: given twice, counted once")
    runs = list(once.values())
    told = variants([training_config(run.file, run.config) for run in runs])
    bases = base_names([run.base for run in runs])
    found.runs = [
        replace(run, variant=_joined(trained, base), model_variant=_joined(untrained, base))
        for run, (trained, untrained), base in zip(runs, told, bases, strict=True)
    ]
    _once_per_model(found)
    return found


def base_names(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the base model of a run from those of the others; empty where all are one, or nothing is known."""
    hashes = {base["weights"] for base in bases if base.get("weights")}
    if len(hashes) < 2:
        return [""] * len(bases)
    return [f"base {Path(str(b.get('name'))).name} {b['weights'][:6]}" if b.get("weights") else UNKNOWN for b in bases]


def _joined(first: str, second: str) -> str:
    return ", ".join(filter(None, (first, second)))


def _once_per_model(found: Found) -> None:
    """One model that was evaluated twice (a run and the test of its own checkpoint, one seed made twice) is one run.

    Of a cell that several evaluations of it have, the one with the most answers counts, the first of equals.
    """
    best: dict[tuple[str, ...], tuple[int, int]] = {}
    for number, run in enumerate(found.runs):
        for record in run.rates:
            cell = _cell(run, record)
            if cell and (cell not in best or _answers(record) > best[cell][0]):
                best[cell] = _answers(record), number
    counted = []
    for number, run in enumerate(found.runs):
        own = [(record, _cell(run, record)) for record in run.rates]
        others = [best[cell][1] for _, cell in own if cell and best[cell][1] != number]
        if others:
            other = found.runs[others[0]].path
            found.missing.append(f"{run.path}: the very model of {other}; what both have measured counts once")
        kept = [record for record, cell in own if cell is None or best[cell][1] == number]
        # Without a rate at its last step a run would seem to end at an earlier one.
        if not others or any(int(record["step"]) == run.last_step for record in kept):
            counted.append(replace(run, rates=kept))
    found.runs = counted


def _cell(run: RunResults, record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Model, suite, template and judge of a rate at the run's last step; None where the model is not known."""
    key = run.model_key if int(record["step"]) == run.last_step and run.last_step else None
    return (key, str(record["suite"]), str(record["template"]), str(record["judge"])) if key else None


def _answers(record: Mapping[str, Any]) -> int:
    return int(record["n"]) + int(record["unscored"])


def _find(path: Path, found: Found) -> None:
    run = newest_version(path)
    inner = [] if results_file(run) else _runs_below(path)
    found.missing += _not_done(path)
    if not inner:
        found.runs.append(load_run(run))  # which says what is wrong
        return
    before = len(found.runs)
    for folder in inner:
        newest = newest_version(folder)
        if results_file(newest) is None:
            found.missing.append(f"{newest}: no results yet")
            continue
        try:
            found.runs.append(load_run(newest))
        except InputError as error:
            if "no rate in it" not in str(error):
                raise
            found.missing.append(str(error))
    if len(found.runs) == before:
        raise InputError(f"{path}: none of its {len(inner)} runs has results yet; wait, or run the sweep again")


def _not_done(path: Path) -> list[str]:
    """Runs that a sweep planned and has not finished, by its sweep.json."""
    file = path / "sweep.json"
    if not file.is_file():
        return []
    try:
        planned = [
            (str(run["name"]), str(run["state"])) for run in json.loads(file.read_text(encoding="utf-8"))["runs"]
        ]
    except (ValueError, KeyError, TypeError):
        return [f"{file}: cannot be read; whether all runs of the sweep are here is not known"]
    return [f"{path / name}: {state} when the sweep wrote {file.name}" for name, state in planned if state != "done"]


def _runs_below(path: Path) -> list[Path]:
    """The folders in ``path`` that are runs: with versions, results or a config."""
    inner = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    return [p for p in inner if results_file(p) or versions(p) or (p / "config.yaml").is_file()]
