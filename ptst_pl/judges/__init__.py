"""Judges: functions from generations to verdicts."""

from ptst_pl.judges.base import Judge
from ptst_pl.judges.exact import ExactJudge
from ptst_pl.judges.exact_match import ExactMatch
from ptst_pl.judges.last_number import LastNumber
from ptst_pl.judges.refusal import RefusalJudge

__all__ = ["ExactJudge", "ExactMatch", "Judge", "LastNumber", "RefusalJudge"]
