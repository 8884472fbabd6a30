"""A rate over training steps: one panel per training, one line per test template with its band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError
from ptst_pl.report.figures import COLOURS, MARKERS, label, new_figure, plain_text, save
from ptst_pl.report.runs import RunResults
from ptst_pl.report.scores import has_score
from ptst_pl.results.intervals import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = tuple[str, str]  # suite, judge
Lines = dict[str, list["Point"]]  # test template -> points


@dataclass(frozen=True)
class Point:
    """Mean over the runs of a row at one step, with the interval of ``mean_interval``."""

    step: int
    mean: float
    low: float
    high: float


def all_series(runs: Sequence[RunResults], measures: str | None = None) -> dict[Series, str]:
    """Every (suite, judge) with a rate -> what the suite measures."""
    return {
        (str(r["suite"]), str(r["judge"])): str(r["measures"])
        for run in runs
        for r in run.rates
        if measures in (None, r["measures"]) and not has_score(r) and r.get("k") is not None
    }


def curve(runs: Sequence[RunResults], row: str, series: Series) -> Lines:
    """The lines of one panel. A step that not every run of the row has a defined rate at is left out."""
    own = [run for run in runs if run.trained == row and run.last_step]
    records: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for run in own:
        for r in run.rates:
            if (r["suite"], r["judge"]) == series:
                records.setdefault((str(r["template"]), int(r["step"])), []).append(r)
    lines: Lines = {}
    for (template, step), found in sorted(records.items(), key=lambda item: item[0][1]):
        if len(found) == len(own) and all(r["rate"] is not None for r in found):
            counts = [(int(r["k"]), int(r["n"])) for r in found]
            lines.setdefault(template, []).append(Point(step, *mean_interval(counts, float(found[0]["confidence"]))))
    return lines


def left_out(runs: Sequence[RunResults], row: str) -> list[int]:
    """Steps of which some, but not all, runs of a row have rates."""
    own = [set(run.steps) for run in runs if run.trained == row and run.last_step]
    return sorted(set[int]().union(*own) - own[0].intersection(*own)) if own else []


def trained_rows(runs: Sequence[RunResults]) -> list[str]:
    """The rows of trained models."""
    return list(dict.fromkeys(run.trained for run in runs if run.last_step))


def test_templates(runs: Sequence[RunResults]) -> list[str]:
    """Every test template, each with one colour in all figures."""
    return list(dict.fromkeys(str(r["template"]) for run in runs for r in run.rates))


test_templates.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest thinks


def draw_curves(runs: Sequence[RunResults], path: Path) -> None:
    """Write a PNG or SVG, a row of panels for each suite and judge that measure ASR.

    Raises:
        InputError: no run has an ASR to draw.
    """
    series = all_series(runs, "asr")
    if not series:
        raise InputError("no run among them has an attack success rate to draw")
    with plain_text():
        figure = curves_figure(runs, list(series), series)
    save(figure, path)


def curves_figure(
    runs: Sequence[RunResults], series: Sequence[Series], measures: Mapping[Series, str], columns: int = 0
) -> Figure:
    """Panels: a row per series and a column per training; or, of one series, ``columns`` in a row."""
    rows = trained_rows(runs) or list(dict.fromkeys(run.row for run in runs))
    wide = min(columns, len(rows)) if columns else len(rows)
    high = len(series) if not columns else -(-len(rows) // wide)
    figure = new_figure(1.6 + 3.4 * wide, 0.7 + 2.5 * high)
    axes = figure.subplots(high, wide, squeeze=False, sharey=True)
    places = [(one, row) for one in series for row in rows]
    templates = test_templates(runs)
    for axis in axes.flat[len(places) :]:
        axis.set_visible(False)
    for number, (axis, (one, row)) in enumerate(zip(axes.flat, places, strict=False)):
        _panel(axis, curve(runs, row, one), templates)
        if columns or number < wide:
            axis.set_title(label(f"trained under {row}"), fontsize=9)
        if number % wide == 0:
            name = {"asr": "ASR"}.get(measures[one], measures[one])
            axis.set_ylabel(f"{label(one[0])}\n{label(f'{name} in % ({one[1]} judge)')}", fontsize=9)
        if number >= len(places) - wide:
            axis.set_xlabel("optimiser step", fontsize=9)
    legend(figure, templates)
    return figure


def legend(figure: Figure, templates: Sequence[str]) -> None:
    """One colour and marker per test template, the same in every figure."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], markersize=4)
        for k in range(len(templates))
    ]
    figure.legend(handles, list(map(label, templates)), title="tested under", loc="outside right upper", fontsize=8)


def _panel(axis: Any, lines: Lines, templates: Sequence[str]) -> None:
    for number, template in enumerate(templates):
        points = lines.get(template, [])
        colour, steps = COLOURS[number % len(COLOURS)], [point.step for point in points]
        axis.fill_between(
            steps, [100 * p.low for p in points], [100 * p.high for p in points], color=colour, alpha=0.15, lw=0
        )
        axis.plot(
            steps, [100 * p.mean for p in points], color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4
        )
    axis.set_ylim(-3, 103)
    axis.grid(alpha=0.3)
