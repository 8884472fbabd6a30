"""The train x test table: what was trained under which template, tested under which."""

from __future__ import annotations

from collections.abc import Sequence

from ptst_pl.report.runs import UNTOUCHED, CellRate, Key, RunResults, matrix
from ptst_pl.report.table import grid


def train_test_table(runs: Sequence[RunResults]) -> str:
    """One line per (training template, test template), a column per suite: rate and interval in per cent.

    The last column is the share of broken answers over all suites that look for harm.
    """
    cells, broken = matrix(runs), matrix(runs, "broken")
    columns = list(dict.fromkeys((suite, judge) for _, _, suite, judge in cells))
    measures = {(r["suite"], r["judge"]): r["measures"] for run in runs for r in run.rates}
    head = [
        "trained under",
        "tested under",
        *(f"{suite} ({_short(measures[suite, judge], judge)})" for suite, judge in columns),
        "broken",
    ]
    rows = list(dict.fromkeys((train, test) for train, test, _, _ in cells))
    rows.sort(key=lambda row: row[0] != UNTOUCHED)
    lines = [head]
    for train, test in rows:
        line = [train, test]
        line += [_text(cells.get((train, test, suite, judge))) for suite, judge in columns]
        lines.append([*line, _broken(broken, train, test, measures)])
    return grid(lines)


def _short(measures: str, judge: str) -> str:
    return f"ASR, {judge} judge" if measures == "asr" else measures


def _text(cell: CellRate | None) -> str:
    if cell is None:
        return "-"
    return f"{100 * cell.mean:.1f} [{100 * cell.low:.0f}, {100 * cell.high:.0f}]"


def _broken(cells: dict[Key, CellRate], train: str, test: str, measures: dict[tuple[str, str], str]) -> str:
    found = {
        key[2]: cell for key, cell in cells.items() if key[:2] == (train, test) and measures[key[2], key[3]] == "asr"
    }
    total = sum(cell.n for cell in found.values())
    return f"{100 * sum(cell.mean * cell.n for cell in found.values()) / total:.1f}" if total else "-"
