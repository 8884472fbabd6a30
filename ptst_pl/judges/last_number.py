"""Helpfulness of word problems: the last number of the answer must be the right one.

The rule ``paper`` is the one that Lyu et al. (arXiv 2402.18540, section 3.1) print, to the letter. Some of
what it does is odd and is kept, for their numbers are made with it:

- a minus sign is dropped with the punctuation before the number, so -3 is 3 (two references of GSM8K's
  test split are negative), and so is the point of ``.5``;
- only a space or an equals sign opens a number: one that begins a line, or stands in ``\\boxed{}``, is not seen;
- a full stop or a comma that stands alone after the last number hides it;
- nothing is asked of what follows: ``50%`` is 50, ``1/2`` is 1, ``5kg`` is 5, ``3rd`` is 3.

The rule ``signed`` is ours, for tasks on which that matters: any white space opens a number, signs (also
U+2212) and decimal points are kept, ``\\boxed{}`` is opened; ``50%`` is 50 and ``1/2`` is 1 here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from ptst_pl.judges.base import Judge
from ptst_pl.results.records import Generation, Verdict

NumberRule = Literal["paper", "signed"]

# In the PDF a second backslash stands before the minus sign, taken for an artefact: it would match nothing.
_PAPER = re.compile(r"(?s:.*)[= ][^\w\s]*(\-?[0-9\.\,]+)[^\w\s]*")
_SIGNED = re.compile(r"(?<=[=\s])[^\w\s=]*?(-?\d[\d,]*(?:\.\d+)?|-?\.\d+)")
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")


def last_number(text: str, rule: NumberRule = "paper") -> Decimal | None:
    """The last number of a text, or None if there is none.

    Thousands separators and final full stops do not count; the paper does not say how it compares, but its
    rule takes them in. An answer follows its prompt after a space, so one is put before it.
    """
    found = _last_by_paper(text) if rule == "paper" else _last_signed(text)
    try:
        return Decimal(found.rstrip(".,").replace(",", ""))
    except InvalidOperation:
        return None


def _last_by_paper(text: str) -> str:
    # A run of equals signs says what one says, and takes the rule quadratic time.
    found = _PAPER.match(" " + re.sub("=+", "=", text))
    return found[1] if found else ""


def _last_signed(text: str) -> str:
    found = _SIGNED.findall(" " + _BOXED.sub(r" \1 ", text.replace("\u2212", "-")))
    return found[-1] if found else ""


class LastNumber(Judge):
    """Exact match on the last number, against the suite's reference answer by the same rule.

    An answer without a number is wrong, as in an exact match.

    Args:
        rule: ``paper`` (known as ``last-number``) or ``signed`` (``last-number-signed``); see this module.
    """

    measures = ("helpfulness",)

    def __init__(self, rule: NumberRule = "paper") -> None:
        self.rule: NumberRule = rule
        self.name = "last-number" if rule == "paper" else f"last-number-{rule}"
        self.version = "2" if rule == "paper" else "1"

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where the reference holds no number."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        right = last_number(generation.reference or "", self.rule)
        if right is None:
            return self.verdict(generation, reason="the reference holds no number")
        given = last_number(generation.answer, self.rule)
        return self.verdict(generation, correct=given == right, reason=f"{given} against {right}")
