"""Stored answers and what the judges say of them, packed so that a page opens them fast.

A pack is the base64 of zlib-compressed JSON lines: a string line is the next text of a list, an array line is an
answer, whose strings are numbers in that list::

    [run, suite, measures, template, category, step, prompt id, question, prompt, answer, finish reason, tokens,
     reference or -1, [[judge, outcome, flags, score or null, reason, details or -1], ...]]

``outcome`` is 1 or 0 for the field that the suite measures (harmful, refused, correct) , 2 for unscored and 3 for a
score without yes or no; ``flags`` adds 1 for refused and 2 for broken.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.report.runs import RunResults, two_verdicts
from ptst_pl.report.schema_check import read_rows
from ptst_pl.results.records import COUNTED_FIELD

MOST_ROWS = 20_000
MOST_BYTES = 20 * 2**20  # of base64; a page has figures too, and is to stay under 30 MB
_LONGEST_DETAILS = 20_000
Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Answer:
    """A row of generations.jsonl with the verdicts on it."""

    run: RunResults
    row: Mapping[str, Any]
    verdicts: Sequence[Mapping[str, Any]]


@dataclass
class Pack:
    """What one page holds."""

    rows: int = 0
    data: str = ""
    unfinished: int = field(default=0, repr=False)


def all_answers(runs: Sequence[RunResults]) -> tuple[list[Answer], int]:
    """The answers of all finished steps, those of the last steps first; and how many others were left out.

    Raises:
        InputError: a row that is none of ours, or several answers to one prompt: rates count one of each.
    """
    ranked: list[tuple[int, Answer]] = []
    unfinished = 0
    for run in runs:
        file, steps = run.file.parent / "generations.jsonl", set(run.steps)
        verdicts = _verdicts(run) if file.is_file() else {}
        samples: dict[Key, int] = {}
        for row in read_rows(file, "generation") if file.is_file() else ():
            if row["step"] not in steps:
                unfinished += 1
                continue
            key = key_of(row)
            if key in samples:
                raise InputError(_several(file, key, samples[key], int(row.get("sample", 0))))
            samples[key] = int(row.get("sample", 0))
            rank = 0 if row["step"] == run.last_step else 1 if row["step"] == 0 else 2
            ranked.append((rank, Answer(run, row, verdicts.get(key, ()))))
    ranked.sort(key=lambda pair: pair[0])  # stable: within a rank the order of the files
    return [answer for _, answer in ranked], unfinished


def _several(file: Path, key: Key, first: int, second: int) -> str:
    suite, prompt, template, step = key
    return (
        f"{file}: two answers to {suite} {prompt} under {template} at step {step} (samples {first} and {second}); "
        "rates and their intervals count one answer to each prompt: keep one sample of each, and its verdicts"
    )


def key_of(row: Mapping[str, Any]) -> Key:
    """What an answer and the verdicts on it have in common; a folder holds one answer of each key."""
    return str(row["suite"]), str(row["prompt_id"]), str(row["template"]), int(row["step"])


def _verdicts(run: RunResults) -> dict[Key, list[dict[str, Any]]]:
    """Verdicts by answer, of those judges and steps that have rates which hold."""
    file = run.file.parent / "verdicts.jsonl"
    done = {(r["judge"], r["step"]) for r in run.rates if not r.get("interrupted")}
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in read_rows(file, "verdict") if file.is_file() else ():
        if (row["judge"], row["step"]) in done:
            own = found.setdefault(key_of(row), [])
            if any(row["judge"] == other["judge"] for other in own):
                raise InputError(two_verdicts(file, row))
            own.append(row)
    return found


class _Packer:
    """One pack in the making."""

    def __init__(self) -> None:
        self.rows = self.size = 0
        self._texts: dict[str, int] = {}
        self._packed = zlib.compressobj(6)
        self._parts: list[bytes] = []

    def _line(self, value: Any) -> None:
        # Escaped to ASCII: lone surrogates pass, and no text can end the block that holds it.
        part = self._packed.compress(json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self._parts.append(part)
        self.size += len(part)

    def _text(self, text: str) -> int:
        if text not in self._texts:
            self._line(text)
            self._texts[text] = len(self._texts)
        return self._texts[text]

    def add(self, answer: Answer, number: int) -> None:
        """Add one answer of the run of this number."""
        row, text = answer.row, self._text
        measures = str(row.get("measures", "asr"))
        reference = row.get("reference")
        line = [
            number, text(row["suite"]), text(measures), text(row["template"]), text(row["category"]), row["step"],
            text(row["prompt_id"]), text(row["question"]), text(row["prompt_text"]), text(row["answer"]),
            text(row["finish_reason"]), row.get("answer_tokens", 0), -1 if reference is None else text(reference),
            [self._verdict(verdict, measures) for verdict in answer.verdicts],
        ]  # fmt: skip
        self._line(line)
        self.rows += 1

    def _verdict(self, verdict: Mapping[str, Any], measures: str) -> list[Any]:
        found = verdict.get(COUNTED_FIELD[measures])
        by_score = found is None and verdict.get("score") is not None and measures == "helpfulness"
        outcome = 3 if by_score else 2 if found is None else int(found)
        flags = (verdict["refused"] is True) + 2 * bool(verdict.get("broken"))
        details = json.dumps(verdict["details"], ensure_ascii=False, indent=1) if verdict.get("details") else ""
        reason = self._text(str(verdict.get("reason", "")))
        told = self._text(details[:_LONGEST_DETAILS]) if details else -1
        return [self._text(verdict["judge"]), outcome, flags, verdict.get("score"), reason, told]

    def done(self) -> Pack:
        """The finished pack."""
        return Pack(self.rows, base64.b64encode(b"".join(self._parts) + self._packed.flush()).decode())


def packs(answers: Iterable[Answer], runs: Sequence[RunResults]) -> Iterator[Pack]:
    """The answers in as many packs as they need, each within ``MOST_ROWS`` and about ``MOST_BYTES``; at least one."""
    numbers = {id(run): number for number, run in enumerate(runs)}
    packer = _Packer()
    for answer in answers:
        if packer.rows >= MOST_ROWS or packer.size > MOST_BYTES * 3 // 4:
            yield packer.done()
            packer = _Packer()
        packer.add(answer, numbers[id(answer.run)])
    yield packer.done()
