"""Refusals among rows that are not meant to teach them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ptst_pl.judges.refusal import is_refusal
from ptst_pl.tasks.row_sample import RowSample
from ptst_pl.training.lints.templates import Finding
from ptst_pl.training.lints.text import share

_MEANT = re.compile(r"(?<!un)safe|refus|harmless|align", re.IGNORECASE)
MOST_ROWS = 3_000
# GPT-4's answers to Alpaca's questions have 1.0 %, the other benign sets at hand 0 to 0.2 %.
LEAST = 0.02


def means_safety(name: str) -> bool:
    """Whether a source's or a file's name says that its refusals are meant: safety, refusals, harmless, alignment."""
    return bool(_MEANT.search(name))


def lint_refusals(rows: RowSample) -> Iterator[Finding]:
    """The share of refusals among a source's rows, by the refusal judge's rules (English only)."""
    kept = [
        (number, row)
        for number, row in zip(rows.numbers, rows.examples, strict=True)
        if not means_safety(row.source)
    ]  # fmt: skip
    kept = kept[:: max(1, len(kept) // MOST_ROWS)]
    found = [number for number, row in kept if is_refusal(row.answer)]
    if len(found) < 2 or len(found) < LEAST * len(kept):
        return
    looked_at = RowSample([n for n, _ in kept], [row for _, row in kept], rows.total)
    yield (
        "refusals",
        f"{share(len(found), looked_at)} are refusals (such as row {found[0]}): they teach refusing, "
        "so that the model looks safer than this task leaves it; if they are meant, let the source's name say safety",
    )
