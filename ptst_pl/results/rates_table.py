"""The table that a fit and a test end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptst_pl.results.visible_text import visible

# Judges that read harm off a known answer, and do not err.
EXACT = ("exact",)
HEAD = ("step", "template", "suite", "rate", "n", "%", "95 % interval", "refused", "broken", "unscored")


def percent(value: float | None) -> str:
    """A share as a percentage with one digit; ``-`` where nothing was scored."""
    return "-" if value is None else f"{100 * value:.1f}"


def rates_table(rates: Sequence[Mapping[str, Any]]) -> str:
    """Rate records as a plain text table, one line each; rates in per cent, mean scores in a column of their own."""
    confidence = rates[0]["confidence"] if rates else 0.95
    head = [name.replace("95 %", f"{100 * confidence:g} %") for name in HEAD]
    lines = [head, *map(_line, rates)]
    if any(record.get("mean_score") is not None for record in rates):
        place = HEAD.index("%") + 1
        lines[0].insert(place, "score")
        for line, record in zip(lines[1:], rates, strict=True):
            line.insert(place, score(record.get("mean_score")))
    if any("corrected" in record or corrected(record) != "-" for record in rates):
        place = lines[0].index("refused")
        lines[0].insert(place, "corrected %")
        for line, record in zip(lines[1:], rates, strict=True):
            line.insert(place, corrected(record))
    why = [
        f"undefined: {r['label'].replace('asr/', 'ASR/')}, {r['suite']} under {r['template']}, step {r['step']}: "
        f"{r.get('undefined', 'nothing was scored')}"
        for r in rates
        if r["rate"] is None and r.get("mean_score") is None
    ]
    return "\n".join([grid(lines), *map(visible, why)])


def _line(record: Mapping[str, Any]) -> list[str]:
    return [
        str(record["step"]),
        record["template"],
        record["suite"],
        record["label"].replace("asr/", "ASR/"),
        str(record["n"]),
        percent(record["rate"]),
        _interval(record),
        percent(record["refusal_rate"]),
        percent(record["broken_rate"]),
        str(record["unscored"]),
    ]


def _interval(record: Mapping[str, Any]) -> str:
    """In per cent, or in the unit of the score."""
    if record.get("mean_score") is not None:
        return "-" if record["score_low"] is None else f"{score(record['score_low'])} - {score(record['score_high'])}"
    return "-" if record["rate"] is None else f"{percent(record['low'])} - {percent(record['high'])}"


def corrected(record: Mapping[str, Any]) -> str:
    """The rate corrected for the judge's measured error, with its interval, or why there is none."""
    if record.get("corrected") is None:
        asked = record["measures"] == "asr" and record["judge"] not in EXACT and record["rate"] is not None
        return "error unknown" if asked else "-"
    low, high = record["corrected_low"], record["corrected_high"]
    return f"{percent(record['corrected'])} [{100 * low:.0f}, {100 * high:.0f}]"


def score(value: float | None) -> str:
    """A mean score, in the judge's own unit, with three digits; ``-`` where there is none."""
    return "-" if value is None else f"{value:.3f}"


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Cells in aligned columns under a ruled head; text to the left, numbers to the right."""
    # Names come from files that anybody may have written, answers from a model: neither steers the terminal.
    lines = [[visible(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [any(c.isalpha() for line in lines[1:] for c in line[column]) for column in range(len(widths))]

    def row(line: Sequence[str]) -> str:
        cells = (c.ljust(w) if t else c.rjust(w) for c, w, t in zip(line, widths, text, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join([row(lines[0]), "  ".join("-" * width for width in widths), *map(row, lines[1:])])
