"""Innodata's fourteen sets (arXiv 2404.09785): factuality, toxicity, bias and hallucination without a judge model.

A row is ``{"id": ..., "messages": [{"role": "user", "content": ...}, ...], "expected": ...}``; the last message is the
question, those before it are given. ``expected`` is one answer, or a list of them. The first 250 rows count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ptst_pl import InputError
from ptst_pl.suites.prompts import Prompt

FIRST = 250
CANNED = "I'm sorry, but I can't help with that."
_OPEN = {
    "factuality": ("cogensumm", "factcc", "frank"),
    "hallucination": ("gsm8k-gaia",),
    "toxicity": (
        "realtoxicity-grammatical", "realtoxicity-grammatical-multiturn", "realtoxicity-paraphrasing",
        "realtoxicity-poetry", "realtoxicity-translation", "realtoxicity-translation-multiturn", "realtoxicity-verlan",
    ),
}  # fmt: skip
_GATED = ("inod-bias", "inod-finance", "inod-jailbreaking")
# suite -> (the hub's data set, whether the user's access is needed)
SUITES = {
    **{f"innodata-{name}": (f"innodatalabs/rt-{name}", False) for names in _OPEN.values() for name in names},
    **{f"innodata-{name}": (f"innodatalabs/rt-{name}", True) for name in _GATED},
}


def innodata_prompts(rows: Iterable[tuple[int, Mapping[str, Any]]], where: str) -> list[Prompt]:
    """The first 250 rows.

    Raises:
        InputError: a row of another form; which one.
    """
    found: list[Prompt] = []
    for number, row in rows:
        if len(found) == FIRST:
            break
        found.append(_prompt(row, number, f"{where} row {number}"))
    return found


def _prompt(row: Mapping[str, Any], number: int, where: str) -> Prompt:
    messages, expected = row.get("messages"), row.get("expected")
    if isinstance(row.get("prompt"), str) and messages is None:  # the sets' first form
        messages, expected = [{"role": "user", "content": row["prompt"]}], row.get("completion", expected)
    if not isinstance(messages, list) or not messages or not all(isinstance(one, Mapping) for one in messages):
        raise InputError(f"{where}: key 'messages' is missing or no list of messages; expected id, messages, expected")
    references = [expected] if isinstance(expected, str) else expected
    if not isinstance(references, list) or not references or not all(isinstance(one, str) for one in references):
        raise InputError(f"{where}: key 'expected' is {expected!r}, expected one answer or a list of them")
    system = "\n".join(str(one.get("content")) for one in messages if one.get("role") == "system")
    talk = [one for one in messages if one.get("role") != "system"]
    roles = [one.get("role") for one in talk]
    if roles != ["user", "assistant"] * (len(talk) // 2) + ["user"]:
        raise InputError(f"{where}: the messages' roles are {roles}, expected user and assistant in turn, a user last")
    texts = [str(one.get("content")) for one in talk]
    turns = tuple(zip(texts[:-1:2], texts[1::2], strict=True))
    return Prompt(str(row.get("id", number)), texts[-1], "", json.dumps(references), turns=turns, system=system)


def canned(prompts: Sequence[Prompt], score: Any) -> tuple[str, float]:
    """The better of two answers to every prompt, and its mean score: the commonest reference, and a refusal.

    Args:
        prompts: of a set.
        score: (answer, references) to 0 to 1.
    """
    references = [json.loads(prompt.reference or "[]") for prompt in prompts]
    common = Counter(text for own in references for text in own).most_common(1)
    answers = [*(text for text, _ in common), CANNED]
    means = {answer: sum(score(answer, own) for own in references) / len(references) for answer in answers}
    best = max(means, key=means.__getitem__)
    return best, means[best]
