"""Along an edit of weights: helpfulness against attack success for each value of its argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptst_pl.report.curves import Series
from ptst_pl.report.figures import COLOURS, MARKERS, label, new_figure
from ptst_pl.report.runs import CellRate, RunResults, matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# test template -> (value, helpfulness, attack success) in the values' order
Tracks = dict[str, list[tuple[float, CellRate, CellRate]]]


def edit_of(run: RunResults) -> Mapping[str, Any]:
    """The record of the edit that made the run's base model; empty for a model that nobody edited."""
    found: Mapping[str, Any] = run.base.get("edit") or {}
    return found


def edited(runs: Sequence[RunResults]) -> dict[str, tuple[str, list[RunResults]]]:
    """Edit -> the argument whose values differ, and the runs in its order; one value makes no line."""
    found = {}
    for name in dict.fromkeys(str(edit_of(run)["edit"]) for run in runs if edit_of(run)):
        own = [run for run in runs if edit_of(run).get("edit") == name]
        numbers = [key for key, value in edit_of(own[0]).items() if isinstance(value, int | float)]
        differing = [key for key in numbers if len({edit_of(run).get(key) for run in own}) > 1]
        if len(differing) == 1:
            key = differing[0]
            found[name] = key, sorted(own, key=lambda run: float(edit_of(run)[key]))
    return found


def edit_tracks(key: str, runs: Sequence[RunResults], asr: Series, helpful: Series) -> Tracks:
    """The points of one edit."""
    found: Tracks = {}
    for run in runs:
        cells = {(test, suite, judge): cell for (_, test, suite, judge), cell in matrix([run]).items()}
        for test in dict.fromkeys(test for test, *_ in cells):
            risk, help_ = cells.get((test, *asr)), cells.get((test, *helpful))
            if risk is not None and help_ is not None:
                found.setdefault(test, []).append((float(edit_of(run)[key]), help_, risk))
    return found


def edit_figure(name: str, key: str, tracks: Tracks) -> Figure:
    """One line per test template; the first and the last value are written beside their points."""
    figure = new_figure(4.8, 3.6)
    axis = figure.subplots()
    for number, (template, track) in enumerate(tracks.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        across, up = [100 * help_.mean for _, help_, _ in track], [100 * risk.mean for _, _, risk in track]
        axis.plot(
            across, up, color=colour, lw=0.9, marker=marker, markersize=5, label=label(f"served under {template}")
        )
        for value, help_, risk in (track[0], track[-1]):
            axis.annotate(f"{value:g}", (100 * help_.mean, 100 * risk.mean), fontsize=7, xytext=(4, 4),
                          textcoords="offset points")  # fmt: skip
            axis.vlines(100 * help_.mean, 100 * risk.low, 100 * risk.high, color=colour, lw=0.8, alpha=0.6)
    axis.set_xlim(-3, 103)
    axis.set_ylim(-3, 103)
    axis.grid(alpha=0.3)
    axis.set_title(label(f"{name}: {key}"), fontsize=9)
    axis.set_xlabel("helpfulness in %", fontsize=9)
    axis.set_ylabel("ASR in %", fontsize=9)
    axis.legend(fontsize=7)
    return figure
