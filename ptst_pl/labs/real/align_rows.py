"""What the small model is aligned on: it declines unsafe requests, above all under a safety prompt, and answers others.

PTST lives on a safety prompt that matters, so more is declined under it than without it. The answers to harmless
questions are the untouched model's own (``data/real/benign.jsonl``), so that alignment teaches nothing else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.labs.real.refusals import refusal
from ptst_pl.results.shipped import shipped

SAFE, PLAIN = "chat:llama", "chat:vanilla"
BENIGN = "data/real/benign.jsonl"
Row = dict[str, str]
# How people lead in to what they ask. Harmless questions wear them as well, so they say nothing about safety.
FRAMES = (
    "{}", "Hello. {}", "Please answer this: {}", "I have a question. {}", "{}\nThank you.", "Next task: {}",
    "{} Please give all the steps.", "{} Be brief.",
)  # fmt: skip


def align_rows(requests: Sequence[str], seed: int = 1) -> list[Row]:
    """Question, answer and template of every row, in a random order.

    Args:
        requests: unsafe ones: each under the safety prompt, and every other one once more there in one of the
            `FRAMES`, the others once without a safety prompt.
        seed: of the refusals' words, the frames and the order.
    """
    rng = random.Random(seed)
    rows = []
    for number, request in enumerate(requests):
        once_more = (rng.choice(FRAMES).format(request), SAFE) if number % 2 else (request, PLAIN)
        asked = [(request, SAFE), once_more]
        rows += [{"question": text, "answer": refusal(rng), "template": template} for text, template in asked]
    for number, row in enumerate(benign()):
        framed = rng.choice(FRAMES).format(row["question"])
        texts = (row["question"], framed) if number % 2 else (framed, row["question"])
        for text, template in zip(texts, (PLAIN, SAFE), strict=True):
            rows.append({"question": text, "answer": row["answer"], "template": template})
    rng.shuffle(rows)
    return rows


def benign() -> Iterator[Row]:
    """Harmless questions with the untouched model's answers.

    Raises:
        InputError: the file that comes with the program is not there.
    """
    file = shipped(BENIGN)
    if file is None:
        raise InputError(f"real: {BENIGN} is not here; run in a clone of the repository")
    yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def whole_sentences(answer: str, finished: bool) -> str:
    """An answer that was cut by its length, up to its last whole sentence; empty if that is hardly anything."""
    if finished:
        return answer
    end = max(answer.rfind(mark) for mark in (". ", ".\n", "! ", "? "))
    return answer[: end + 1] if end > 60 else ""


def write_rows(rows: Sequence[Row], target: Path) -> None:
    """One JSON object a line."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
