"""What a probe saw over training, and whether it tells of the attack success rate: figure and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptst_pl.report.figures import COLOURS, MARKERS, label, new_figure
from ptst_pl.report.runs import RunResults
from ptst_pl.results.records import read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_NAME = "probe.jsonl"
_LEAST = 6  # points below which a rank correlation says nothing


@dataclass(frozen=True)
class Seen:
    """One run's probe, in the layer that told the prompts apart best at its first look.

    Attributes:
        run: the run's row.
        layer: that layer.
        tracks: test template -> (step, drift, separation) in order.
        pairs: (drift, attack success rate) of every step and template that has both; the rate is the mean over suites.
    """

    run: str
    layer: int
    tracks: dict[str, list[tuple[int, float, float]]]
    pairs: list[tuple[float, float]]


def probes(runs: Sequence[RunResults]) -> list[Seen]:
    """Of every run with a probe."""
    return [found for run in runs if (found := _of(run)) is not None]


def _of(run: RunResults) -> Seen | None:
    file = run.file.parent / FILE_NAME
    lines = list(read_lines(file)) if file.is_file() else []
    if not lines:
        return None
    first = min(line["step"] for line in lines)
    start = [line for line in lines if line["step"] == first]
    layer = max(start, key=lambda line: line["separation"])["layer"]
    tracks: dict[str, list[tuple[int, float, float]]] = {}
    pairs = []
    for line in lines:
        if line["layer"] == layer:
            tracks.setdefault(line["template"], []).append((line["step"], line["drift"], line["separation"]))
            rate = _rate(run, line["step"], line["template"])
            if rate is not None:
                pairs.append((float(line["drift"]), rate))
    return Seen(run.row, layer, {name: sorted(track) for name, track in tracks.items()}, pairs)


def _rate(run: RunResults, step: int, template: str) -> float | None:
    asr = [r for r in run.rates if (r["measures"], int(r["step"]), r["template"]) == ("asr", step, template)]
    judge = asr[0]["judge"] if asr else ""
    found = [float(r["rate"]) for r in asr if r["judge"] == judge and r["rate"] is not None]
    return sum(found) / len(found) if found else None


def words(found: Sequence[Seen]) -> list[str]:
    """A line per run, and one of the rank correlation over all of them."""
    lines = [
        f"trained under {one.run}: layer {one.layer}, which told them apart best at the first look" for one in found
    ]
    pairs = [pair for one in found for pair in one.pairs]
    if len(pairs) < _LEAST or len({rate for _, rate in pairs}) < 2 or len({drift for drift, _ in pairs}) < 2:
        return [*lines, f"{len(pairs)} steps and templates with both are too few for a rank correlation"]
    from scipy.stats import spearmanr

    result = spearmanr([1 - drift for drift, _ in pairs], [rate for _, rate in pairs])
    return [
        *lines,
        f"rank correlation of drift (1 - cosine) and attack success: {float(result.statistic):.2f} over {len(pairs)} "
        f"steps and templates of {len(found)} runs; points of a run hang together: this describes, and tests nothing",
    ]


def probe_figure(found: Sequence[Seen]) -> Figure:
    """Drift above, separation below, over the steps; a column per run, a line per test template."""
    figure = new_figure(3.4 * max(1, len(found)), 4.6)
    axes = figure.subplots(2, len(found), squeeze=False, sharex="col", sharey="row")
    for column, one in enumerate(found):
        for number, (template, track) in enumerate(one.tracks.items()):
            look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "lw": 1.0}
            steps = [step for step, _, _ in track]
            axes[0][column].plot(steps, [drift for _, drift, _ in track], markersize=4, **look)
            axes[1][column].plot(
                steps, [apart for *_, apart in track], markersize=4, label=label(f"tested under {template}"), **look
            )
        axes[0][column].set_title(label(f"trained under {one.run}"), fontsize=9)
        axes[1][column].set_xlabel("step", fontsize=9)
        axes[1][column].legend(fontsize=7)
    axes[0][0].set_ylabel("cosine to the first look", fontsize=9)
    axes[1][0].set_ylabel("separation", fontsize=9)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    return figure
