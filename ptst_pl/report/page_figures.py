"""The figures of the page, each a menu of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ptst_pl.report.curves import all_series, curves_figure, left_out, trained_rows
from ptst_pl.report.edit_curve import edit_figure, edit_tracks, edited
from ptst_pl.report.figures import plain_text, svg_text
from ptst_pl.report.inline_svg import inline
from ptst_pl.report.matrix_panes import MEASURES
from ptst_pl.report.probe import Seen, probe_figure, probes
from ptst_pl.report.probe import words as probe_words
from ptst_pl.report.runs import RunResults
from ptst_pl.report.serving import Separation, roc_figure, separations
from ptst_pl.report.tradeoff import tradeoff_figure, tradeoff_pairs

CURVES = (
    "One panel per training, one line per test template with its interval; over several runs the mean. "
    "Step 0 is the model before training."
)
TRADEOFF = (
    "Every evaluated step is a point: where the model would stand had training stopped there. The ring is step 0, the "
    "large mark the last step with its intervals. Right and down is better."
)

SERVED = (
    "A defence at serving time gives every answer a score, and withholds those below a threshold. The curve goes over "
    "all thresholds; the diagonal tells nothing apart."
)
PROBE = (
    "Hidden states of safe and unsafe prompts at their last token, in one layer: the cosine of the refusal direction "
    "(difference of means) to the first look, and how far the two kinds lie apart."
)
EDITS = (
    "An edit's argument goes from one end to the other, and every value is a tested model. Of interpolation 0 is the "
    "aligned model and 1 the fine-tuned one. What beats the edit lies right of and below its line."
)


@dataclass(frozen=True)
class PageFigure:
    """A section of the page: pictures of one kind, (name, SVG element) each."""

    id: str
    short: str
    title: str
    text: str
    menu: str
    notes: list[str]
    parts: list[tuple[str, Any]]


def page_figures(runs: Sequence[RunResults]) -> list[PageFigure]:
    """Curves over training and helpfulness against ASR, as far as the runs have them."""
    served = separations(runs)
    edits = [PageFigure("served", "Served", "Harmful and harmless answers told apart", SERVED, "Curve",
                        [one.words() for one in served], list(_roc(served)))]  # fmt: skip
    edits += [
        PageFigure("edits", "Edits", "Along an edit of weights", EDITS, "Edit and suites", [], list(_edits(runs)))
    ]
    seen = probes(runs)
    edits.append(
        PageFigure("probe", "Inside", "A look inside", PROBE, "Picture", probe_words(seen), list(_probe(seen)))
    )
    if not trained_rows(runs):
        return [figure for figure in edits if figure.parts]
    curves, tradeoffs = list(_curves(runs)), list(_tradeoffs(runs))
    notes = [
        f"trained under {row}: steps {', '.join(map(str, steps))} are not drawn, as not all its runs have them"
        for row in trained_rows(runs)
        if (steps := left_out(runs, row))
    ]
    found = [
        PageFigure(
            "curves", "Over training", "Rates over training steps", CURVES, "Suite, measure and judge", notes, curves
        ),
        PageFigure("tradeoff", "Trade-off", "Helpfulness against attack success", TRADEOFF, "Suites", notes, tradeoffs),
    ]
    return [figure for figure in found + edits if figure.parts]


def _roc(found: Sequence[Separation]) -> Iterator[tuple[str, Any]]:
    if found:
        title = f"{found[0].name}: harmful against harmless answers caught, at every threshold"
        with plain_text():
            svg = svg_text(roc_figure(found))
        yield title, _markup(svg, "roc", title)


def _probe(found: Sequence[Seen]) -> Iterator[tuple[str, Any]]:
    if found:
        with plain_text():
            svg = svg_text(probe_figure(found))
        yield (
            "drift and separation",
            _markup(svg, "probe", "drift and separation over training; the numbers are in probe.jsonl"),
        )


def _edits(runs: Sequence[RunResults]) -> Iterator[tuple[str, Any]]:
    for name, (key, own) in edited(runs).items():
        for asr, helpful in tradeoff_pairs(own):
            tracks = edit_tracks(key, own, asr, helpful)
            if tracks:
                title = f"{name}, {key}: {asr[0]} ({asr[1]} judge) against {helpful[0]} ({helpful[1]} judge)"
                with plain_text():
                    svg = svg_text(edit_figure(name, key, tracks))
                yield title, _markup(svg, f"edit-{name}-{asr[0]}-{asr[1]}", f"{title}; the numbers are in results.csv")


def _curves(runs: Sequence[RunResults]) -> Iterator[tuple[str, Any]]:
    measures = all_series(runs)
    ordered = sorted(measures, key=lambda one: list(MEASURES).index(measures[one]))
    for number, one in enumerate(ordered):
        name = f"{one[0]}: {MEASURES[measures[one]]}, {one[1]} judge"
        with plain_text():
            svg = svg_text(curves_figure(runs, [one], measures, columns=3))
        yield name, _markup(svg, f"curve{number}", f"{name}, over training steps; the numbers are in results.csv")


def _tradeoffs(runs: Sequence[RunResults]) -> Iterator[tuple[str, Any]]:
    for number, (asr, helpful) in enumerate(tradeoff_pairs(runs)):
        name = f"{asr[0]} ({asr[1]} judge) against {helpful[0]} ({helpful[1]} judge)"
        with plain_text():
            svg = svg_text(tradeoff_figure(runs, asr, helpful))
        yield name, _markup(svg, f"trade{number}", f"{name}; the numbers are in results.csv")


def _markup(svg: str, prefix: str, label: str) -> Any:
    from markupsafe import Markup

    return Markup(inline(svg, prefix, label))
