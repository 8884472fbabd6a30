"""Innodata's metric as a judge (arXiv 2404.09785): a score and no word of right or wrong, so there is a mean."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ptst_pl.judges.base import Judge
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.suites.overlap_score import best_overlap


class InnodataJudge(Judge):
    """The best of ROUGE-2 and a match of the beginning, over all right answers."""

    name = "innodata"
    version = "1"
    measures = ("helpfulness",)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation; unscored where there is no reference."""
        return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        if not generation.reference:
            return self.verdict(generation, reason="no reference")
        try:
            found = json.loads(generation.reference)
        except ValueError:
            found = generation.reference
        references = [text for text in found if isinstance(text, str)] if isinstance(found, list) else [str(found)]
        return self.verdict(generation, score=best_overlap(generation.answer, references))
