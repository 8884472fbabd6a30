"""The train x test tables: rows are training templates, columns test templates, as the paper prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptst_pl.report.comparisons import Comparison, comparisons
from ptst_pl.report.runs import CellRate, RunResults, matrix, undefined
from ptst_pl.report.scores import has_score, score_matrix, score_text
from ptst_pl.results.rates_table import grid, percent, score

TITLES = {
    "asr": "attack success rate in %, {judge} judge",
    "over-refusal": "over-refusal in %, {judge} judge",
    "helpfulness": "helpfulness in %, {judge} judge",
    "rules": "cases with all rules kept in %, {judge} judge",
}


def train_test_tables(runs: Sequence[RunResults]) -> str:
    """One table per suite and judge, each cell a rate or mean score with its interval, and one of the broken answers.

    The untouched model stands first. The broken answers are a mean over the suites that look for harm.
    """
    cells = matrix(runs)
    rows = row_order(runs)
    measures = {(r["suite"], r["judge"]): r["measures"] for run in runs for r in run.rates}
    blocks = []
    for suite, judge in dict.fromkeys((suite, judge) for _, _, suite, judge in cells):
        own = {(train, test): cell for (train, test, s, j), cell in cells.items() if (s, j) == (suite, judge)}
        title = TITLES[measures[suite, judge]].format(judge=judge)
        blocks.append(f"{suite}: {title}\n{_table({key: _text(cell) for key, cell in own.items()}, rows)}")
    scores = score_matrix(runs)
    for suite, judge in dict.fromkeys((suite, judge) for _, _, suite, judge in scores):
        own = {(train, test): cell for (train, test, s, j), cell in scores.items() if (s, j) == (suite, judge)}
        texts = {key: score_text(cell) for key, cell in own.items()}
        blocks.append(f"{suite}: mean score (no percentage), {judge} judge\n{_table(texts, rows)}")
    broken = broken_shares(runs)
    if broken:
        blocks.append(f"broken answers in %, over all suites that look for harm\n{_table(broken, rows)}")
    seeds = max((cell.seeds for cell in [*cells.values(), *scores.values()]), default=1)
    if seeds > 1:
        blocks.append(
            f"mean ± standard deviation over {seeds} runs [interval over prompts and runs] (every run's own rate)"
        )
    return "\n\n".join([*blocks, *undefined(runs)])


def row_order(runs: Sequence[RunResults]) -> list[str]:
    """The rows of every table: models before any training first, then the trained ones in the order given."""
    return list(dict.fromkeys([run.untouched for run in runs] + [run.trained for run in runs]))


def _table(texts: dict[tuple[str, str], str], rows: Sequence[str]) -> str:
    trained = [row for row in rows if any(row == train for train, _ in texts)]
    tested = list(dict.fromkeys(test for _, test in texts))
    head = ["trained under \\ tested under", *tested]
    return grid([head, *([train, *(texts.get((train, test), "-") for test in tested)] for train in trained)])


def _text(cell: CellRate) -> str:
    spread = "" if cell.deviation is None else f" ± {100 * cell.deviation:.1f}"
    own = f" ({', '.join(f'{100 * value:.0f}' for value in cell.values)})" if len(cell.values) > 1 else ""
    return f"{100 * cell.mean:.1f}{spread} [{100 * cell.low:.0f}, {100 * cell.high:.0f}]{own}"


def category_table(runs: Sequence[RunResults]) -> str:
    """The last step's rates, category by category, each run on its own."""
    head = ["trained under", "tested under", "suite", "judge", "category", "n", "unscored", "%", "interval"]
    records = [
        (run, r, name, c)
        for run in runs
        for r in run.rates
        if int(r["step"]) == run.last_step
        for name, c in r.get("categories", {}).items()
    ]
    lines = [
        [run.row, r["template"], r["suite"], r["judge"], name, str(c["n"]), str(c["unscored"]), *_value(c)]
        for run, r, name, c in records
    ]
    if any(has_score(c) for *_, c in records):
        head[-2] = "% or score"
    return grid([head, *lines]) if lines else "no suite among them has categories"


def _value(category: Mapping[str, Any]) -> tuple[str, str]:
    """Rate in per cent, or mean score, and its interval."""
    if has_score(category):
        interval = f"{score(category['score_low'])} - {score(category['score_high'])}"
        return f"score {score(category['mean_score'])}", interval
    return percent(category["rate"]), f"{percent(category['low'])} - {percent(category['high'])}"


def paired_table(runs: Sequence[RunResults]) -> str:
    """PTST against the usual way, prompt by prompt; empty without runs to compare.

    Under each test template, the runs trained under that very template (the usual way) are compared with
    those trained under another one. Single runs: Tango's interval and McNemar's exact test, for these two
    checkpoints. Several: the interval and test over prompts and runs of ``intervals.compare``.
    """
    head = [
        "tested under",
        "trained under",
        "against",
        "suite",
        "judge",
        "n",
        "difference in points",
        "p",
        "p (Holm)",
        "runs",
    ]
    lines = [_paired_line(found) for found in comparisons(runs)]
    return "\n".join(["the same prompts, pair by pair", grid([head, *lines])]) if lines else ""


def _paired_line(found: Comparison) -> list[str]:
    low, high = found.interval
    points = f"{100 * found.difference:+.1f} [{100 * low:+.0f}, {100 * high:+.0f}]"
    return [found.test, found.other, found.same, found.suite, found.judge, str(found.n), points, *_p_values(found)]


def _p_values(found: Comparison) -> list[str]:
    return [f"{found.p_value:.2g}", f"{found.adjusted:.2g}", f"{found.runs[0]} / {found.runs[1]}"]


def broken_shares(runs: Sequence[RunResults]) -> dict[tuple[str, str], str]:
    """(training row, test template) -> broken answers in per cent, over all suites that look for harm."""
    measures = {(r["suite"], r["judge"]): r["measures"] for run in runs for r in run.rates}
    found: dict[tuple[str, str], dict[str, CellRate]] = {}
    for (train, test, suite, judge), cell in matrix(runs, "broken").items():
        if measures[suite, judge] == "asr":
            known = found.setdefault((train, test), {}).get(suite)
            # Of files of older versions, in which only some judges looked for broken answers, the one that did.
            if known is None or known.mean < cell.mean:
                found[train, test][suite] = cell
    return {
        key: f"{100 * sum(c.mean * c.n for c in own.values()) / sum(c.n for c in own.values()):.1f}"
        for key, own in found.items()
    }
