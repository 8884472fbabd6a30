"""Mean scores, for judges that say how good an answer is and not whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from ptst_pl.results.records import Verdict

SCORE_FIELDS = ("mean_score", "score_low", "score_high")


def gives_scores_only(cell: Sequence[Verdict]) -> bool:
    """Whether a cell measures helpfulness by scores: no answer in it is called right or wrong, some have a score."""
    return (
        cell[0].measures == "helpfulness"
        and all(verdict.correct is None for verdict in cell)
        and any(verdict.score is not None for verdict in cell)
    )


def score_fields(verdicts: Sequence[Verdict], confidence: float, max_unscored: float) -> dict[str, Any]:
    """The mean of the ``n`` scored verdicts with Student's interval over the prompts; there is no rate.

    ``score_low`` and ``score_high`` are None for a single score, which tells nothing of the spread. Where
    too much is unscored there is no mean, and ``undefined`` says why.
    """
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    unscored = len(verdicts) - len(scores)
    fields: dict[str, Any] = {"n": len(scores), "unscored": unscored, **dict.fromkeys(("k", "rate", "low", "high"))}
    if not scores or unscored > max_unscored * len(verdicts):
        reason = f"{unscored} of {len(verdicts)} answers unscored, at most {max_unscored:.0%} may be"
        return {**fields, **dict.fromkeys(SCORE_FIELDS), "undefined": reason}
    return {**fields, **dict(zip(SCORE_FIELDS, mean_score(scores, confidence), strict=True))}


def mean_score(scores: Sequence[float], confidence: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean, low and high of Student's t interval; low and high are None for a single score.

    Raises:
        ValueError: no score.
    """
    if not scores:
        raise ValueError("no score to take the mean of")
    mean = fmean(scores)
    if len(scores) < 2:
        return mean, None, None
    from scipy.special import stdtrit  # takes half a second to load

    half = float(stdtrit(len(scores) - 1, 0.5 + confidence / 2)) * stdev(scores) / sqrt(len(scores))
    return mean, mean - half, mean + half
