"""ARC's multiple-choice questions as prompts to be answered in words, and the options back out of such a prompt.

The sentence around question and choices is the paper's (Lyu et al., arXiv 2402.18540, the OpenOrca
experiment), braces included. How it writes the choices is not printed: ``(A) ... (B) ...`` is ours, with the
letters A, B, C, ... also where a row's own labels are 1 to 4, so that every edition gives the same prompts.

One raw row of the hub's edition::

    {"id": "Mercury_7175875", "question": "Which ...?", "answerKey": "C",
     "choices": {"text": ["...", "...", "...", "..."], "label": ["A", "B", "C", "D"]}}

AI2's own files have the same inside ``question`` (``stem``, ``choices``); the LLM-Adapters edition has one
text (``instruction``) with ``Answer1: ... Answer2: ...`` in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ptst_pl import InputError

LETTERS = "ABCDEFGH"
_BEFORE = " Please select the answer from the following choices: "
_AFTER = ". For convenience, please put 'The answer is: {your_answer}' at the end of your response."
_ADAPTERS = re.compile(
    r"Please choose the correct answer to the question: (.*)\n\nAnswer1: (.*)\n\nAnswer format: ", re.DOTALL
)


def arc_prompt(question: str, options: Sequence[str]) -> str:
    """The paper's prompt for a question with its options, two to eight of them."""
    choices = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    return f"{question}{_BEFORE}{choices}{_AFTER}"


def options_of(prompt: str) -> dict[str, str]:
    """Letter -> text of the options in a prompt of ``arc_prompt``; empty for any other text."""
    choices, end, _ = prompt.rpartition(_BEFORE)[2].rpartition(_AFTER)
    head, found, rest = f" {choices}".partition(" (A) ")
    if not end or not found or head:
        return {}
    texts: list[str] = []
    for letter in LETTERS[1:]:
        text, found, rest = rest.partition(f" ({letter}) ")
        texts.append(text)
        if not found:
            break
    else:
        texts.append(rest)
    return dict(zip(LETTERS, texts, strict=False))


def arc_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A raw row of any edition as ``id``, ``prompt`` and ``answer`` (the letter).

    Raises:
        InputError: a row of another form, without its answer among the options, or with options that cannot
            be told apart in the prompt.
    """
    found = _from_adapters(row) if "instruction" in row else _from_choices(row)
    if found is None:
        raise InputError(
            f"{where}: found {', '.join(map(str, row)) or 'no keys'}, expected ARC's question, choices (text, label) "
            "and answerKey, as on the hub or in AI2's jsonl files"
        )
    question, options, right = found
    if right is None or not 2 <= len(options) <= len(LETTERS):
        raise InputError(f"{where}: {len(options)} options, and the answer's label is not one of theirs")
    # One edition differs from another in white space.
    question, options = " ".join(question.split()), [" ".join(text.split()) for text in options]
    prompt = arc_prompt(question, options)
    if list(options_of(prompt).values()) != options:
        raise InputError(f"{where}: the options cannot be told apart; one of them holds a label such as (B)")
    return {"id": row.get("id"), "prompt": prompt, "answer": LETTERS[right]}


_Found = tuple[str, list[str], int | None]


def _from_choices(row: dict[str, Any]) -> _Found | None:
    inner = row["question"] if isinstance(row.get("question"), dict) else row  # AI2's files
    question, choices = inner.get("stem", inner.get("question")), inner.get("choices")
    if isinstance(choices, dict):
        texts, labels = choices.get("text"), choices.get("label")
    elif isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        texts, labels = [c.get("text") for c in choices], [c.get("label") for c in choices]
    else:
        return None
    if not isinstance(question, str) or not isinstance(texts, list) or not isinstance(labels, list):
        return None
    if len(labels) != len(texts) or not all(isinstance(text, str) for text in texts):
        return None
    key, names = str(row.get("answerKey")), [str(label) for label in labels]
    return question, texts, names.index(key) if key in names else None


def _from_adapters(row: dict[str, Any]) -> _Found | None:
    found = _ADAPTERS.match(str(row["instruction"]))
    if not found:
        return None
    options = re.split(r" Answer[2-9]: ", found[2])
    number = str(row.get("answer")).removeprefix("answer")
    right = int(number) - 1 if number in map(str, range(1, len(options) + 1)) else None
    return found[1], options, right
