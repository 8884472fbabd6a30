"""The plain text tables of ``ptst_pl agree``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptst_pl.judges.stored.agreement import LABELS, Label, Row, confusion, count, detection, kappa_interval
from ptst_pl.judges.stored.store import Key, key_of
from ptst_pl.results.folder_argument import one_line
from ptst_pl.results.rates import Rate
from ptst_pl.results.rates_table import grid, percent
from ptst_pl.results.records import Generation
from ptst_pl.results.visible_text import visible

# With more unscored than this, the scored answers are a selection.
MOST_UNSCORED = 0.1

WORDS: dict[str, dict[Label, str]] = {
    "asr": {True: "harmful", False: "not harmful", None: "unscored"},
    "over-refusal": {True: "refused", False: "not refused", None: "unscored"},
}


def pair_table(rows: Mapping[tuple[str, str, str], Sequence[Row]], measures: str, confidence: float) -> str:
    """One line per (suite or "all", judge, judge): n scored by both, raw agreement, kappa and its interval."""
    lines = [["suite", "judge", "judge", "n", "unscored", "agree %", "kappa", f"{100 * confidence:g} % interval"]]
    notes: dict[str, None] = {}
    for (suite, first, second), own in rows.items():
        counts = count(own)
        unscored = str(len(own) - counts.n)
        kappa, interval, note = _kappa(own, measures, confidence)
        notes |= dict.fromkeys([note] if note else [])
        lines.append([suite, first, second, str(counts.n), unscored, percent(counts.agreement.value), kappa, interval])
    for (suite, first, second), own in rows.items():
        scored = count(own).n
        if suite == "all" and len(own) - scored > MOST_UNSCORED * len(own):
            notes[_selection(f"{first} and {second}", scored, len(own))] = None
    return "\n".join([grid(lines), *map(visible, notes)])


def _selection(judges: str, scored: int, answers: int) -> str:
    """A warning: a sheet that favours disagreement shows less agreement than there is."""
    return (
        f"{judges}: {scored} of {answers} answers scored by both; the figures hold for these, and for all only if "
        "they were drawn alike ('sample --uniform')"
    )


def _kappa(rows: Sequence[Row], measures: str, confidence: float) -> tuple[str, str, str]:
    """Kappa, its interval, and what to know where one of them is missing."""
    counts = count(rows)
    if counts.n == 0:
        return "-", "-", "kappa -: no answer that both judges scored"
    if counts.kappa is None:
        word = WORDS[measures][counts.both > 0]
        return "-", "-", f"kappa -: undefined where both judges call every answer {word!r}"
    interval = kappa_interval(rows, confidence)
    if interval is None:
        return (
            f"{counts.kappa:.2f}",
            "-",
            "interval -: a judge that is constant, or too few prompts or disagreements to estimate one",
        )
    return f"{counts.kappa:.2f}", f"{interval[0]:.2f} - {interval[1]:.2f}", ""


def confusion_table(pair: tuple[str, str], rows: Sequence[Row], measures: str) -> str:
    """Counts of all nine pairs of labels."""
    table, words = confusion(rows), WORDS[measures]
    lines = [[f"{pair[0]} \\ {pair[1]}", *(words[label] for label in LABELS)]]
    lines += [[words[first], *(str(table[first, second]) for second in LABELS)] for first in LABELS]
    return grid(lines)


def reference_table(reference: str, rows: Mapping[str, Sequence[Row]], confidence: float) -> str:
    """Precision, recall and accuracy of each judge against the reference."""
    lines = [["judge", "n", "unscored", "precision %", "recall %", "accuracy %"]]
    for judge, own in rows.items():
        found = detection(own)
        rates = (_rate(rate, confidence) for rate in (found.precision, found.recall, found.accuracy))
        lines.append([judge, str(found.accuracy.n), str(found.unscored), *rates])
    return f"against the {reference} judge (Wilson intervals, as if all answers were independent)\n{grid(lines)}"


def _rate(rate: Rate, confidence: float) -> str:
    low, high = rate.interval(confidence)
    return f"{percent(rate.value)} [{100 * low:.0f}, {100 * high:.0f}] of {rate.n}" if rate.n else "- of 0"


def difference_table(
    generations: Sequence[Generation], labels: Mapping[str, Mapping[Key, Label]], measures: str
) -> str:
    """One line per answer: where it is from, what each judge says, how it starts."""
    lines = [["suite", "prompt", "template", "step", *labels, "answer"]]
    for generation in generations:
        key = key_of(generation)
        says = [WORDS[measures][own[key]] if key in own else "not judged" for own in labels.values()]
        where = [generation.suite, generation.prompt_id, generation.template, str(generation.step)]
        lines.append([*(one_line(cell, 40) for cell in where), *says, one_line(generation.answer, 60)])
    return grid(lines)
