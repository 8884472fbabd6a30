"""What the testbed found, from its runs' files: exact rates, and the paper's three findings as numbers.

"What Makes and Breaks Safety Fine-tuning?" (arXiv 2407.10264) says of safety tuning that (1) safe and unsafe requests
fall into clusters further apart, (2) the network's local Lipschitz constant falls on unsafe requests, and (3) requests
of jailbreaks lie nearer to safe ones. Whether that is so here is read off, not assumed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import read_lines

OBJECTIVES = {
    "sft": "supervised",
    "dpo": "supervised, with a preference for declining",
    "unlearning": "supervised, away from unsafe answers",
}
PLAIN, SAFE = "text:a", "text:safe"
FINDINGS = (
    "1. safety tuning parts the clusters",
    "2. the Lipschitz constant falls on unsafe requests",
    "2. and by a larger share than on safe ones",
    "3. risky operators under other names lie nearer to safe requests",
    "3. texts of another grammar lie nearer to safe requests",
)
JAILBREAKS = ("pcfg-duplicates", "pcfg-grammar")


@dataclass(frozen=True)
class Look:
    """The last layer at one step of one run, under ``text:safe``: means of its probe's numbers.

    Attributes:
        separation: of the two clusters.
        lipschitz_safe: local Lipschitz constant on safe requests.
        lipschitz_unsafe: the same on unsafe ones.
        places: unsafe suite -> 0 where safe requests lie, 1 where all unsafe ones lie on average.
    """

    separation: float
    lipschitz_safe: float
    lipschitz_unsafe: float
    places: dict[str, float]


def lines(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Three tables, and a sentence for each finding.

    Args:
        runs: folder of ``ptst_pl pcfg run``.
        seeds: whose means are shown.

    Raises:
        InputError: a run is missing.
    """
    yield from _rates_table(runs, seeds)
    yield from _fine_tuning_table(runs, seeds)
    looks = {name: _looks(runs, name, seeds) for name in OBJECTIVES}
    yield from _looks_table(looks)
    yield from _sentences(looks)


def _rates_table(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    yield f"exact rates in %, mean over seeds {', '.join(map(str, seeds))}; 200 requests a cell; tested under"
    yield f"{SAFE}, which stands for a safety prompt, unless said otherwise"
    yield ""
    yield f"{'safety tuning':<13}  unsafe, {PLAIN}  unsafe  duplicates  grammar  borderline  over-refusal"
    for name in OBJECTIVES:
        cells = [
            (PLAIN, "pcfg-unsafe"), (SAFE, "pcfg-unsafe"), *((SAFE, suite) for suite in JAILBREAKS),
        ]  # fmt: skip
        values = [_over(runs, seeds, f"{name}/seed={{}}/version_0/safety/results.json", *cell) for cell in cells]
        values.append(_over(runs, seeds, f"borderline/{name}-{{}}/results.json", SAFE, "pcfg-borderline"))
        values.append(_over(runs, seeds, f"{name}/seed={{}}/version_0/safety/results.json", SAFE, "pcfg-lookalike"))
        yield f"{name:<13}  {_row(values, (14, 6, 10, 7, 10, 12))}"


def _fine_tuning_table(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Safety lost and task learnt, step by step: at one step alone either could look like anything."""
    yield ""
    yield "then fine-tuned on the harmless task: unsafe requests answered, and the task right, %"
    yield ""
    head = f"{PLAIN}->{PLAIN}  {PLAIN}->{SAFE} (PTST)  {SAFE}->{SAFE} (usual)  task, PTST  task, usual"
    yield f"{'safety tuning':<13}  steps  {head}"
    for name in OBJECTIVES:
        folder = f"finetune-{name}-{{}}/template={{}}/version_0/safety/results.json"
        plain, safe = (folder.replace("template={}", f"template={t.replace(':', '-')}") for t in (PLAIN, SAFE))
        cells = [
            (plain, PLAIN, "pcfg-unsafe"), (plain, SAFE, "pcfg-unsafe"), (safe, SAFE, "pcfg-unsafe"),
            (plain, SAFE, "pcfg-task"), (safe, SAFE, "pcfg-task"),
        ]  # fmt: skip
        for step in _steps(runs / plain.replace("{}", str(seeds[0]), 1)):
            values = [_over(runs, seeds, *cell, step) for cell in cells]
            yield f"{name:<13}  {step:>5}  {_row(values, (14, 24, 28, 10, 11))}"


def _steps(file: Path) -> list[int]:
    """At which a run was evaluated, but for the first."""
    return sorted({int(record["step"]) for record in _read(file)["rates"]})[1:]


def _row(values: Sequence[float], widths: Sequence[int]) -> str:
    return "  ".join(f"{100 * value:.1f}".rjust(width) for value, width in zip(values, widths, strict=True))


def _over(runs: Path, seeds: Sequence[int], file: str, template: str, suite: str, step: int | None = None) -> float:
    """Mean over seeds of a cell's rate at a step; default the last."""
    return mean(_rate(runs / file.replace("{}", str(seed), 1), template, suite, step) for seed in seeds)


def _rate(file: Path, template: str, suite: str, step: int | None) -> float:
    cell = [r for r in _read(file)["rates"] if (r["template"], r["suite"]) == (template, suite)]
    found = [record for record in cell if step in (None, record["step"])]
    if not found:
        raise InputError(f"{file}: no rate of {suite} under {template}; run 'ptst_pl pcfg run' with the same --seeds")
    return float(max(found, key=lambda record: record["step"])["rate"])


def _read(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{file} is missing; 'ptst_pl pcfg run' makes it, with the same --runs and --seeds")
    return json.loads(file.read_text(encoding="utf-8"))


# ---- the three findings -------------------------------------------------------------------------


def _looks(runs: Path, name: str, seeds: Sequence[int]) -> tuple[Look, Look]:
    """Before and after safety tuning, mean over seeds."""
    files = [runs / name / f"seed={seed}/version_0/safety/probe.jsonl" for seed in seeds]
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(f"{missing[0]} is missing; 'ptst_pl pcfg run' makes it, with the same --runs and --seeds")
    found = [[line for line in read_lines(file) if line["template"] == SAFE] for file in files]
    layer = max(line["layer"] for line in found[0])
    own = [[line for line in lines if line["layer"] == layer] for lines in found]
    steps = (0, max(line["step"] for line in own[0]))
    before, after = ([line for lines in own for line in lines if line["step"] == step] for step in steps)
    return _mean(before), _mean(after)


def _mean(found: Sequence[dict[str, Any]]) -> Look:
    separation, safe, unsafe = (
        mean(line[key] for line in found) for key in ("separation", "lipschitz_safe", "lipschitz_unsafe")
    )
    places = {suite: mean(line["places"][suite] for line in found) for suite in found[0]["places"]}
    return Look(separation, safe, unsafe, places)


def _looks_table(looks: dict[str, tuple[Look, Look]]) -> Iterator[str]:
    yield ""
    yield "last layer, last word of the request: before safety tuning -> after it; where safe requests lie is 0"
    yield ""
    yield f"{'safety tuning':<13}  separation    Lipschitz, unsafe  Lipschitz, safe  unsafe  duplicates  grammar"
    for name, (before, after) in looks.items():
        pairs = [
            f"{before.separation:.2f} -> {after.separation:.2f}",
            f"{before.lipschitz_unsafe:.2f} -> {after.lipschitz_unsafe:.2f}",
            f"{before.lipschitz_safe:.2f} -> {after.lipschitz_safe:.2f}",
        ]
        words = [pair.ljust(width) for pair, width in zip(pairs, (12, 17, 15), strict=True)]
        places = (after.places[suite] for suite in ("pcfg-unsafe", *JAILBREAKS))
        words += [f"{place:.2f}".rjust(width) for place, width in zip(places, (6, 10, 7), strict=True)]
        yield f"{name:<13}  {'  '.join(words)}"


def _sentences(looks: dict[str, tuple[Look, Look]]) -> Iterator[str]:
    """Whether each finding shows, under each objective."""
    found: dict[str, list[str]] = {what: [] for what in FINDINGS}
    for name, (before, after) in looks.items():
        shown = (
            after.separation > before.separation,
            after.lipschitz_unsafe < before.lipschitz_unsafe,
            after.lipschitz_unsafe / before.lipschitz_unsafe < after.lipschitz_safe / before.lipschitz_safe,
            *(after.places[suite] < after.places["pcfg-unsafe"] for suite in JAILBREAKS),
        )
        for told, holds in zip(found.values(), shown, strict=True):
            told.append(f"{name} {'yes' if holds else 'no'}")
    yield ""
    yield from (f"{what}: {', '.join(told)}" for what, told in found.items())
