"""The train x test matrices as they are shown: text, colour and marks of every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from ptst_pl.report.matrix import row_order
from ptst_pl.report.runs import CellRate, RunResults, cell_records, matrix
from ptst_pl.report.safety_prompts import is_ptst, safety_prompted
from ptst_pl.report.scores import score_matrix
from ptst_pl.results.judge_accuracy import JudgeAccuracy
from ptst_pl.results.rates_table import EXACT

MEASURES = {
    "asr": "attack success rate",
    "over-refusal": "over-refusal",
    "helpfulness": "helpfulness",
    "rules": "rules kept",
}
UNKNOWN_ERROR = "How often this judge is wrong has not been measured: its rates carry an error of unknown size."
SHADES = 21  # colours between 0 and 100 %


@dataclass(frozen=True)
class PaneCell:
    """One cell: a rate (a share) or a mean score; ``why`` says why there is none."""

    train: str
    test: str
    rate: CellRate | None
    is_score: bool
    ptst: bool
    unscored: int
    why: str = ""
    corrected: str = ""
    """What the judge's own measured error makes of an attack success rate."""

    @property
    def mean(self) -> str:
        """The number, in per cent or in the score's unit."""
        if self.rate is None:
            return "undefined" if self.why else "-"
        return f"{self.rate.mean:.3f}" if self.is_score else f"{100 * self.rate.mean:.1f}"

    @property
    def spread(self) -> str:
        """Sample standard deviation over seeds; empty for one run."""
        if self.rate is None or self.rate.deviation is None:
            return ""
        return f"± {self.rate.deviation:.3f}" if self.is_score else f"± {100 * self.rate.deviation:.1f}"

    @property
    def interval(self) -> str:
        """The interval in brackets."""
        if self.rate is None or isnan(self.rate.low):
            return ""
        low, high = self.rate.low, self.rate.high
        return f"[{low:.3f}, {high:.3f}]" if self.is_score else f"[{100 * low:.0f}, {100 * high:.0f}]"

    @property
    def count(self) -> str:
        """Prompts, and runs where there are several."""
        if self.rate is None:
            return ""
        own = ", ".join(f"{100 * value:.0f}" for value in self.rate.values)
        runs = f" × {self.rate.seeds} runs" + (f" ({own})" if own else "") if self.rate.seeds > 1 else ""
        return f"n {self.rate.n}{runs}"

    @property
    def shade(self) -> int | None:
        """Which of the ``SHADES`` colours; None without a share."""
        return None if self.rate is None or self.is_score else round((SHADES - 1) * self.rate.mean)


@dataclass(frozen=True)
class Pane:
    """One matrix: of one suite by one judge."""

    suite: str
    judge: str
    measures: str
    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], PaneCell] = field(repr=False)
    note: str = ""

    @property
    def title(self) -> str:
        """Suite, measure and judge."""
        unit = "mean score" if any(cell.is_score for cell in self.cells.values()) else "%"
        return f"{self.suite}: {MEASURES[self.measures]} ({unit}), {self.judge} judge"


def panes(runs: Sequence[RunResults]) -> list[Pane]:
    """Every matrix, those of attack success first."""
    records, rates, scores = cell_records(runs), matrix(runs), score_matrix(runs)
    confidence = float(runs[0].rates[0]["confidence"]) if runs else 0.95
    prompted = safety_prompted(runs)
    trained_under = {run.trained: run.train_template for run in runs if run.last_step}
    order = list(MEASURES)
    kinds = {(str(r["suite"]), str(r["judge"])): str(r["measures"]) for run in runs for r in run.rates}
    found = []
    for (suite, judge), measures in sorted(kinds.items(), key=lambda item: order.index(item[1])):
        own = {(train, test): told for (train, test, s, j), told in records.items() if (s, j) == (suite, judge)}
        accuracy = next((a for run in runs if (a := run.meta.get("judge_accuracy", {}).get(judge))), None)
        bare = measures == "asr" and accuracy is None and judge not in EXACT
        cells = {}
        for (train, test), told in own.items():
            key = (train, test, suite, judge)
            ptst = is_ptst(prompted, trained_under.get(train, ""), test)
            unscored = sum(int(r["unscored"]) for r in told)
            why = "" if key in rates or key in scores else _why(told)
            rate = rates.get(key)
            own_error = _corrected(rate, accuracy, confidence) if rate and measures == "asr" else ""
            shown = rate or scores.get(key)
            cells[train, test] = PaneCell(train, test, shown, key in scores, ptst, unscored, why, own_error)
        rows = [row for row in row_order(runs) if any(row == train for train, _ in own)]
        columns = list(dict.fromkeys(test for _, test in own))
        found.append(Pane(suite, judge, measures, rows, columns, cells, UNKNOWN_ERROR if bare else ""))
    return found


def _corrected(rate: CellRate, accuracy: Mapping[str, Any] | None, confidence: float) -> str:
    found = JudgeAccuracy(**accuracy).corrected(rate.mean, rate.low, rate.high, confidence) if accuracy else None
    return "corrected {:.1f} [{:.0f}, {:.0f}]".format(*(100 * value for value in found)) if found else ""


def _why(records: Sequence[Mapping[str, Any]]) -> str:
    return next((str(r["undefined"]) for r in records if "undefined" in r), "nothing was scored")
