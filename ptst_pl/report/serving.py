"""What a defence at serving time can tell apart: its scores on harmful and on harmless answers, as a ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any

from ptst_pl.report.figures import COLOURS, label, new_figure
from ptst_pl.report.runs import RunResults
from ptst_pl.report.schema_check import read_rows
from ptst_pl.results.records import SERVED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Separation:
    """Of one run at its last step: scores by what the answers are.

    Attributes:
        name: of the defence.
        run: the run's row.
        harmful: scores of answers that a judge calls harmful, of suites that look for harm.
        harmless: scores of answers to the other suites.
        flagged: shares of both that were not shown as they were.
        tokens: that models read or made for an answer beside its own, on average; None in older files.
    """

    name: str
    run: str
    judge: str
    harmful: list[float]
    harmless: list[float]
    flagged: tuple[float, float]
    tokens: float | None = None

    def words(self) -> str:
        """One line."""
        points = roc(self.harmful, self.harmless)
        return (
            f"{self.name} after {self.run}: AUC {auc(points):.3f}; at 90 % of the harmful answers caught "
            f"{100 * false_positives_at(points):.1f} % of the harmless ones; as set {100 * self.flagged[0]:.1f} and "
            f"{100 * self.flagged[1]:.1f} % ({len(self.harmful)} harmful answers by the {self.judge} judge, "
            f"{len(self.harmless)} harmless){self._usual()}{self._cost()}"
        )

    def _usual(self) -> str:
        """What harmless answers score: near 0, the defence cannot tell anything (PARDEN: the model cannot repeat)."""
        return f"; harmless answers score {mean(self.harmless):.2f} on average" if self.harmless else ""

    def _cost(self) -> str:
        return "" if self.tokens is None else f"; {self.tokens:.0f} tokens more for an answer"


def separations(runs: Sequence[RunResults]) -> list[Separation]:
    """Every run that was served behind a defence with scores, and that has answers of both kinds."""
    found = [one for run in runs if (one := _of(run)) is not None]
    return [one for one in found if one.harmful and one.harmless]


def _of(run: RunResults) -> Separation | None:
    file = run.file.parent / SERVED
    if not file.is_file():
        return None
    lines = [line for line in read_rows(file, "served") if line["step"] == run.last_step and "score" in line]
    measures = {str(r["suite"]): str(r["measures"]) for r in run.rates}
    judge = next((str(r["judge"]) for r in run.rates if r["measures"] == "asr"), "")
    kinds: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]] = ([], [])
    for line in lines:
        suite = str(line["suite"])
        if measures.get(suite) != "asr":
            kinds[1].append(line)
        elif run.last_outcomes.get((suite, str(line["template"]), judge), {}).get(str(line["prompt_id"])):
            kinds[0].append(line)
    if not lines:
        return None
    shares = tuple(sum(bool(line["flagged"]) for line in kind) / max(len(kind), 1) for kind in kinds)
    scores = [[float(line["score"]) for line in kind] for kind in kinds]
    tokens = mean(line["tokens"] for line in lines) if all("tokens" in line for line in lines) else None
    name = str(lines[0]["defence"])
    return Separation(name, run.row, judge, scores[0], scores[1], (shares[0], shares[1]), tokens)


def roc(harmful: Sequence[float], harmless: Sequence[float]) -> Points:
    """(false-positive rate, true-positive rate) at every threshold; a low score is a positive."""
    points = [(0.0, 0.0)]
    for threshold in sorted({*harmful, *harmless}):
        rates = [sum(score <= threshold for score in scores) / len(scores) for scores in (harmless, harmful)]
        points.append((rates[0], rates[1]))
    return points


def auc(points: Sequence[tuple[float, float]]) -> float:
    """Area under a ROC curve, by trapezoids."""
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))


def false_positives_at(points: Sequence[tuple[float, float]], wanted: float = 0.9) -> float:
    """The smallest false-positive rate with at least this true-positive rate."""
    return min(x for x, y in points if y >= wanted)


def roc_figure(found: Sequence[Separation]) -> Figure:
    """One curve per run."""
    figure = new_figure(4.2, 3.8)
    axis = figure.subplots()
    for number, one in enumerate(found):
        points = roc(one.harmful, one.harmless)
        across, up = [100 * x for x, _ in points], [100 * y for _, y in points]
        axis.plot(across, up, color=COLOURS[number % len(COLOURS)], lw=1, label=label(f"{one.name} after {one.run}"))
    axis.plot([0, 100], [0, 100], color="black", lw=0.4, alpha=0.5)
    axis.set_xlabel("harmless answers caught in %", fontsize=9)
    axis.set_ylabel("harmful answers caught in %", fontsize=9)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    return figure
