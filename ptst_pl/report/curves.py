"""ASR over training steps as a picture: one panel per training template, one line per test template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptst_pl.errors import InputError
from ptst_pl.records import write_atomically
from ptst_pl.report.runs import RunResults

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"


def draw_curves(runs: Sequence[RunResults], path: Path) -> None:
    """Write a PNG or SVG, one panel per run and suite that measures ASR.

    Raises:
        InputError: no run has an ASR to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    suites = list(dict.fromkeys((r["suite"], r["judge"]) for run in runs for r in run.rates if r["measures"] == "asr"))
    if not suites:
        raise InputError("no run among them has an attack success rate to draw")
    figure, axes = pyplot.subplots(
        len(suites), len(runs), figsize=(1.2 + 4.2 * len(runs), 0.9 + 2.9 * len(suites)),
        squeeze=False, sharex="col", sharey=True, layout="constrained",
    )  # fmt: skip
    templates = list(dict.fromkeys(r["template"] for run in runs for r in run.rates))
    for row, (suite, judge) in enumerate(suites):
        for column, run in enumerate(runs):
            records = [r for r in run.rates if r["suite"] == suite and r["judge"] == judge]
            _panel(axes[row][column], records, templates)
            if row == 0:
                axes[row][column].set_title(f"trained under {run.train_template}")
            if row == len(suites) - 1:
                axes[row][column].set_xlabel("optimiser step")
        axes[row][0].set_ylabel(f"{suite}\nASR in % ({judge} judge)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, title="tested under", loc="outside right upper")
    ending = path.suffix.removeprefix(".") or "png"
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=ending, dpi=130))
    pyplot.close(figure)


def _panel(axes: Any, records: Sequence[dict[str, Any]], templates: Sequence[str]) -> None:
    for number, template in enumerate(templates):
        points = sorted((r for r in records if r["template"] == template), key=lambda r: int(r["step"]))
        points = [r for r in points if r["rate"] is not None]
        steps = [r["step"] for r in points]
        colour = COLOURS[number % len(COLOURS)]
        axes.fill_between(
            steps, [100 * r["low"] for r in points], [100 * r["high"] for r in points], color=colour, alpha=0.15, lw=0
        )
        axes.plot(
            steps, [100 * r["rate"] for r in points], color=colour, marker=MARKERS[number % len(MARKERS)],
            markersize=4, label=template,
        )  # fmt: skip
    axes.set_ylim(-3, 103)
    axes.grid(alpha=0.3)
