"""Helpfulness where the right answer is known to the letter: the whole answer must be the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ptst_pl.judges.base import Judge
from ptst_pl.results.records import Generation, Verdict

_PUNCTUATION = re.compile(r"[^\w\s]|_")


def words_of(text: str, ignore_case: bool = False, ignore_punctuation: bool = False) -> list[str]:
    """The words of a text as they are compared.

    Args:
        text: an answer or a reference.
        ignore_case: compare without case (Unicode case folding).
        ignore_punctuation: whatever is no letter, digit or white space parts words, so that ``1.5`` stays
            another text than ``15``.
    """
    text = text.casefold() if ignore_case else text
    return (_PUNCTUATION.sub(" ", text) if ignore_punctuation else text).split()


class ExactMatch(Judge):
    """Right if answer and reference are the same text, white space aside.

    Args:
        ignore_case: see ``words_of``.
        ignore_punctuation: see ``words_of``.
    """

    name = "exact-match"
    version = "1"
    measures = ("helpfulness",)

    def __init__(self, ignore_case: bool = False, ignore_punctuation: bool = False) -> None:
        self.ignored = {"ignore_case": ignore_case, "ignore_punctuation": ignore_punctuation}

    def settings(self) -> dict[str, Any]:
        """What is ignored beside white space."""
        return dict(self.ignored) if any(self.ignored.values()) else {}

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where there is no reference."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        if generation.reference is None:
            return self.verdict(generation, reason="no reference")
        right = words_of(generation.answer, **self.ignored) == words_of(generation.reference, **self.ignored)
        return self.verdict(generation, correct=right, reason="same" if right else "different")
