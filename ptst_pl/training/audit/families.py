"""Families of format: of which kinds of text a set's answers are, so that a small odd one shows."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from ptst_pl.training.lints.text import script_of


def family(text: str) -> str:
    """What an answer looks like from afar: its script where that is not Latin, or the layout of its characters."""
    script = script_of(text)
    if script not in ("", "Latin"):
        return f"{script} letters"
    body = text.strip()
    if not body:
        return "empty"
    kinds = Counter(_kind(character) for character in body)
    total = sum(kinds.values()) - kinds["space"]
    words = body.split()
    if max(map(len, words)) > 60 and sum(len(word) for word in words if len(word) > 60) > 0.5 * len(body):
        return "unbroken strings"
    if kinds["digit"] > 0.4 * total:
        return "mostly digits"
    if kinds["mark"] > 0.25 * total:
        return "code or markup"
    if len(words) < 4:
        return "a few words"
    return "list" if len(re.findall(r"^\s*(?:\d+[.)]|[-*•])\s", body, re.MULTILINE)) > 2 else "prose"


def _kind(character: str) -> str:
    return (
        "letter"
        if character.isalpha()
        else "digit"
        if character.isdigit()
        else "space"
        if character.isspace()
        else "mark"
    )


def surprises(texts: Sequence[str]) -> list[float]:
    """For each text its characters' cross entropy in bits, by pairs of characters, under all the other texts.

    An odd text is surprising beside the rest of its set, whatever the language of the set.
    """
    own = [Counter(zip(text[:400].lower(), text[1:401].lower(), strict=False)) for text in texts]
    total: Counter[tuple[str, str]] = Counter()
    for pairs in own:
        total.update(pairs)
    first: Counter[str] = Counter()
    for (one, _), count in total.items():
        first[one] += count
    return [_cross_entropy(pairs, total, first) for pairs in own]


def _cross_entropy(pairs: Counter[tuple[str, str]], total: Counter[tuple[str, str]], first: Counter[str]) -> float:
    mine: Counter[str] = Counter()
    for (one, _), count in pairs.items():
        mine[one] += count
    size, bits = sum(pairs.values()), 0.0
    for pair, count in pairs.items():
        seen, starts = total[pair] - count, first[pair[0]] - mine[pair[0]]
        bits -= count * math.log2((seen + 0.1) / (starts + 10))
    return bits / size if size else 0.0
