"""Helpfulness where the right answer is known to the letter: the whole answer must be the reference."""

from __future__ import annotations

from collections.abc import Sequence

from ptst_pl.judges.base import Judge
from ptst_pl.records import Generation, Verdict


class ExactMatch(Judge):
    """Right if answer and reference are the same text, white space aside."""

    name = "exact-match"
    version = "1"
    measures = ("helpfulness",)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where there is no reference."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        if generation.reference is None:
            return self.verdict(generation, reason="no reference")
        right = generation.answer.split() == generation.reference.split()
        return self.verdict(generation, correct=right, reason="same" if right else "different")
