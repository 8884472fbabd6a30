"""Helpfulness on ARC: the option that an answer chooses must be the right one.

``arc-paper`` is the rule that Lyu et al. (arXiv 2402.18540) print: what follows ``The answer is:`` up to the
first character that is no letter, digit or space, compared without case and punctuation. The paper says
neither which of several matches counts (here: the last; it asks for the answer at the end) nor whether it
compares letters or texts (here: both). An answer in any other form is wrong.

``arc`` is ours: the paper's rule first, then "the answer is B" in other words, an answer that begins with a
letter as a label ("B", "(B)", "B. roots"), and an answer that is an option's text. It follows an answer's
meaning where a model keeps to no form, so its rates are higher than the paper's can be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ptst_pl.judges.base import Judge
from ptst_pl.judges.exact_match import words_of
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.suites.arc import options_of

ArcRule = Literal["paper", "any-form"]

_PAPER = re.compile(r"The answer is: ?[^\w\s]?([a-zA-Z0-9_ ]*)[^\w\s]?")
_STATED = re.compile(
    r"\b(?:answer|option|choice)\b(?: to (?:this|the) question)?(?: (?:is|would be|must be)\b:?|:)"
    r"(?=\s*([^\n]{0,400}))",
    re.IGNORECASE,
)
_OPEN = r"[\s*_`\"'(\[{]*(?:(?:option|choice|answer)\b[\s:*_(\[{]*)?"
# A letter is a label where punctuation or the end follows; "A" before a word may be the article.
_LABEL = re.compile(rf"{_OPEN}([A-H])(?=[*_`\"')\]}}]*(?:[:;!)\]}}]|[.,](?!\w)|\s+[-–]\s|\s*$|\s*\n))")
_LABEL_AND_REASON = re.compile(rf"{_OPEN}([A-H])[*_`\"')\]}}]*\s+(?:because|since|as|which|for)\b")
_SENTENCE_END = re.compile(r"[.;!](?:\s|$)|\n")
_SEVERAL = re.compile(r"[A-H][\s*_`\"')\]}.]*(?:,|/|&|\band\b|\bor\b)[\s*_`\"'(\[{]*(?:option\s*)?[B-H](?!\w)")


def chosen_option(answer: str, options: Mapping[str, str], rule: ArcRule = "any-form") -> str | None:
    """The letter of the option that an answer chooses, or None where it chooses none or several.

    Args:
        answer: the model's answer.
        options: letter -> text, as the question lists them.
        rule: see this module.
    """
    answer = answer.strip()
    paper = _PAPER.findall(answer)
    if paper and (found := _named(paper[-1], options)):
        return found
    if rule == "paper":
        return None
    stated = [_said(statement, options) for statement in _STATED.findall(answer)]
    return next(filter(None, reversed(stated)), None) or _said(answer, options)


def _named(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose letter or text this is, case and punctuation aside."""
    words = _plain(text)
    letters = [letter for letter in options if words == [letter.lower()]]
    texts = [letter for letter, option in options.items() if words and words == _plain(option)]
    found = letters or texts
    return found[0] if len(found) == 1 else None


def _said(text: str, options: Mapping[str, str]) -> str | None:
    """The option that a statement begins with: its text as a whole or as a sentence, or its letter as a label."""
    exact = [letter for letter, option in options.items() if option == text.strip()]  # "Rr" is not "rr", nor "+1" "-1"
    if len(exact) == 1:
        return exact[0]
    if found := _named(text, options) or _named(_SENTENCE_END.split(text)[0], options):
        return found
    if _SEVERAL.match(text.lstrip(" \t*_`\"'([{")):
        return None
    label = _LABEL.match(text) or _LABEL_AND_REASON.match(text)
    if label:
        return label[1] if label[1] in options else None
    words = _plain(text)
    repeated = [letter for letter, option in options.items() if words == [letter.lower(), *_plain(option)]]
    return repeated[0] if len(repeated) == 1 else None


def _plain(text: str) -> list[str]:
    return words_of(text, ignore_case=True, ignore_punctuation=True)


class ArcJudge(Judge):
    """Exact match on the option that the answer chooses; the options are read out of the question.

    Args:
        rule: ``any-form`` (known as ``arc``) or ``paper`` (``arc-paper``); see this module.
    """

    version = "1"
    measures = ("helpfulness",)

    def __init__(self, rule: ArcRule = "any-form") -> None:
        self.rule: ArcRule = rule
        self.name = "arc-paper" if rule == "paper" else "arc"

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where question or reference are not those of an ARC suite."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        options = options_of(generation.question)
        if generation.reference not in options:
            return self.verdict(generation, reason="no ARC question with its letter as the reference")
        given = chosen_option(generation.answer, options, self.rule)
        reason = f"{given or 'no option'} against {generation.reference}"
        return self.verdict(generation, correct=given == generation.reference, reason=reason)
