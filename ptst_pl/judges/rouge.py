"""Helpfulness by overlap with a reference answer: ROUGE-L (Lin 2004, aclanthology.org/W04-1013).

The F measure of the longest common subsequence of words, without stemming, from torchmetrics. A word is a
run of the letters a to z and digits, in lower case, as in the usual implementations: other scripts have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ptst_pl.judges.base import Judge
from ptst_pl.results.records import Generation, Verdict

_WORD = re.compile(r"[a-z0-9]", re.IGNORECASE | re.ASCII)


class RougeJudge(Judge):
    """Gives each answer its ROUGE-L F score, 0 to 1; no answer is right or wrong, so there is a mean and no rate."""

    name = "rouge"
    version = "1"
    measures = ("helpfulness",)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where the reference holds no word."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        if not _WORD.search(generation.reference or ""):
            return self.verdict(generation, reason="the reference holds no word of the letters a-z and digits")
        return self.verdict(generation, score=rouge_l(generation.answer, generation.reference or ""))


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L's F measure of one answer, 0 to 1."""
    from torchmetrics.functional.text.rouge import rouge_score  # loads torch, which no other judge here needs

    return float(rouge_score(answer, reference, rouge_keys="rougeL")["rougeL_fmeasure"])
