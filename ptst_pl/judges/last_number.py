"""Helpfulness of word problems: the last number of the answer must be the right one.

The rule is the paper's (section 3.1): the last number that follows a space or an equals sign, with
nothing but punctuation (such as ``$``) between; thousands separators and a final dot do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from ptst_pl.judges.base import Judge
from ptst_pl.records import Generation, Verdict

_NUMBER = re.compile(r"(?<=[=\s])[^\w\s=]*?(-?\d[\d,]*(?:\.\d+)?|-?\.\d+)")


def last_number(text: str) -> Decimal | None:
    """The last number of a text by the paper's rule, or None if there is none."""
    found = _NUMBER.findall(" " + text)
    if not found:
        return None
    try:
        return Decimal(found[-1].replace(",", ""))
    except InvalidOperation:
        return None


class LastNumber(Judge):
    """Exact match on the last number, against the suite's reference answer."""

    name = "last-number"
    version = "1"
    measures = ("helpfulness",)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where the reference holds no number."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        right = last_number(generation.reference or "")
        if right is None:
            return self.verdict(generation, reason="the reference holds no number")
        given = last_number(generation.answer)
        return self.verdict(generation, correct=given == right, reason=f"{given} against {right}")
