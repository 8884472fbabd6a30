"""Innodata's score of an answer: the best, over the right answers, of ROUGE-2 and of beginning with one of them.

Case and punctuation are ignored. ROUGE-2 is the F measure over pairs of neighbouring words (Lin 2004), by torchmetrics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKS = re.compile(r"[^\w\s]|_")


def best_overlap(answer: str, references: Sequence[str]) -> float:
    """0 to 1."""
    return max((max(_begins(answer, one), rouge_2(answer, one)) for one in references), default=0.0)


def words_of(text: str) -> list[str]:
    """In lower case, without punctuation."""
    return _MARKS.sub(" ", text.lower()).split()


def _begins(answer: str, reference: str) -> float:
    own, wanted = words_of(answer), words_of(reference)
    return float(bool(wanted) and own[: len(wanted)] == wanted)


def rouge_2(answer: str, reference: str) -> float:
    """The F measure of common pairs of words, 0 to 1; one word alone has no pair."""
    from torchmetrics.functional.text.rouge import rouge_score  # loads torch

    return float(rouge_score(answer, reference, rouge_keys="rouge2")["rouge2_fmeasure"])
