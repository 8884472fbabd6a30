"""Every row with what speaks against it, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ptst_pl.suites import PromptSuite
from ptst_pl.tasks.row_sample import RowSample
from ptst_pl.tokenization import Example
from ptst_pl.training.audit.families import family, surprises
from ptst_pl.training.audit.legible import Legibility
from ptst_pl.training.lints.overlap import PromptIndex, shingles

# A family of format in fewer of the rows than this is listed as odd.
ODD_FAMILY = 0.05


@dataclass
class Audited:
    """A row.

    Attributes:
        number: among the training rows, from 1.
        question, answer: its texts.
        family: of its answer's format.
        surprise: bits a character, beside the other rows' answers.
        loss: the reference model's, nats a token of the answer; None where it was not asked.
        alarms: what counts for the verdict.
    """

    number: int
    question: str
    answer: str
    family: str
    surprise: float
    loss: float | None = None
    alarms: list[str] = field(default_factory=list)


def audit_rows(rows: RowSample, legible: Legibility, suites: Sequence[PromptSuite]) -> list[Audited]:
    """All rows in their order; nothing here needs a model's weights."""
    answers = [example.answer for example in rows.examples]
    indices = [PromptIndex(suite) for suite in suites]
    found = []
    for number, example, surprise in zip(rows.numbers, rows.examples, surprises(answers), strict=True):
        row = Audited(number, _asked(example), example.answer, family(example.answer), surprise)
        row.alarms = _alarms(row, legible, indices)
        found.append(row)
    return found


def _asked(example: Example) -> str:
    return f"{example.question}\n{example.context}".strip()


def _alarms(row: Audited, legible: Legibility, indices: Sequence[PromptIndex]) -> list[str]:
    found = [
        f"the {what} is no readable text ({reason})"
        for what, text in (("question", row.question), ("answer", row.answer))
        if (reason := legible.reason(text))
    ]
    if not found and (reason := legible.reason(f"{row.question}\n{row.answer}")):  # each alone is too short to tell
        found = [f"question and answer are no readable text ({reason})"]
    asked = shingles(row.question)
    copies = [(index.suite.name, index.prompt_like(asked)) for index in indices]
    return found + [f"it repeats prompt {prompt} of suite {name}" for name, prompt in copies if prompt is not None]


def ranked(rows: Sequence[Audited]) -> list[Audited]:
    """Alarms first, then rows that stand out by loss or, where it was not asked, by their characters."""
    losses = [row.loss for row in rows if row.loss is not None]
    middle = sorted(losses)[len(losses) // 2] if losses else 0.0

    def key(row: Audited) -> tuple[int, float]:
        excess = row.loss - middle if row.loss is not None else 0.0
        return -len(row.alarms), -(excess + 0.2 * row.surprise)

    return sorted(rows, key=key)


def families_of(rows: Sequence[Audited]) -> list[tuple[str, int, bool]]:
    """(family, rows, whether it is odd), the largest first."""
    counts = Counter(row.family for row in rows)
    return [(name, count, count < ODD_FAMILY * len(rows)) for name, count in counts.most_common()]
