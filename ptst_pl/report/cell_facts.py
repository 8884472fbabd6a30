"""What the page shows of a chosen cell: its counts run by run, and what they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptst_pl.report.matrix_panes import Pane
from ptst_pl.report.provenance import command, decoding, judge, suite
from ptst_pl.report.runs import RunResults

CellKey = tuple[str, str, str, str]  # suite, judge, training row, test template


def cell_facts(runs: Sequence[RunResults], panes: Sequence[Pane]) -> tuple[dict[CellKey, int], list[dict[str, Any]]]:
    """The number of every cell, and by number its title, facts and the filter that finds its answers."""
    numbers: dict[CellKey, int] = {}
    told: list[dict[str, Any]] = []
    for pane in panes:
        for train, test in pane.cells:
            numbers[pane.suite, pane.judge, train, test] = len(told)
            told.append(_cell(runs, pane, train, test))
    return numbers, told


def _cell(runs: Sequence[RunResults], pane: Pane, train: str, test: str) -> dict[str, Any]:
    cell = pane.cells[train, test]
    sources = [(run, r) for run in runs for r in run.rates if _is_of(run, r, pane, train, test)]
    if any(run.untouched == train for run, r in sources if int(r["step"]) == 0):
        sources = sources[:1]  # the same model in all runs; the first one counts
    run = sources[0][0]
    facts = [("value", " ".join(filter(None, [cell.mean, cell.spread, cell.interval, cell.count])))]
    facts += [("why", cell.why)] if cell.why else []
    facts += [("judge's error", cell.corrected or pane.note)] if cell.corrected or pane.note else []
    facts += [(f"{own.path}, step {r['step']}", _counts(r)) for own, r in sources]
    facts += [("suite", suite(run, pane.suite)), ("judge", f"{pane.judge}, {judge(run, pane.judge)}")]
    facts += [("decoding", decoding(run)), *(("command", command(own)) for own, _ in sources)]
    step = "0" if int(sources[0][1]["step"]) == 0 else "last"
    return {
        "title": f"{pane.title}: {train} → {test}",
        "facts": facts,
        "filter": {"train": train, "template": test, "suite": pane.suite, "judge": pane.judge, "step": step},
    }


def _is_of(run: RunResults, r: Mapping[str, Any], pane: Pane, train: str, test: str) -> bool:
    if (r["suite"], r["judge"], r["template"]) != (pane.suite, pane.judge, test):
        return False
    step = int(r["step"])
    return (step == 0 and run.untouched == train) or (0 < step == run.last_step and run.trained == train)


def _counts(r: Mapping[str, Any]) -> str:
    unscored = f", {r['unscored']} unscored" if r["unscored"] else ""
    if r.get("mean_score") is not None:
        return f"mean score {r['mean_score']:.4f} of {r['n']}{unscored}"
    if r["rate"] is None:
        return f"{r.get('undefined', 'nothing was scored')}{unscored}"
    return f"{r['k']} of {r['n']} = {100 * r['rate']:.1f} % [{100 * r['low']:.1f}, {100 * r['high']:.1f}]{unscored}"
