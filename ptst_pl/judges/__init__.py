"""Judges: functions from generations to verdicts.

In: stored answers. Out: a verdict on each, and rates.
May import: generation, model, tasks, suites and everything below them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptst_pl.judges.arc import ArcJudge
from ptst_pl.judges.base import Judge
from ptst_pl.judges.bertscore import BertScoreJudge
from ptst_pl.judges.exact import ExactJudge
from ptst_pl.judges.exact_match import ExactMatch
from ptst_pl.judges.exact_words import ExactWords
from ptst_pl.judges.human import HumanJudge
from ptst_pl.judges.innodata import InnodataJudge
from ptst_pl.judges.keywords import KeywordJudge
from ptst_pl.judges.last_number import LastNumber
from ptst_pl.judges.panel import PanelJudge
from ptst_pl.judges.refusal import RefusalJudge
from ptst_pl.judges.rouge import RougeJudge
from ptst_pl.judges.rubric import RubricJudge
from ptst_pl.judges.rules import RulesJudge
from ptst_pl.judges.zoo import JudgeZooJudge

if TYPE_CHECKING:
    from ptst_pl.judges.classifier import ClassifierJudge

__all__ = [
    "ArcJudge",
    "BertScoreJudge",
    "ClassifierJudge",
    "ExactJudge",
    "ExactMatch",
    "ExactWords",
    "HumanJudge",
    "InnodataJudge",
    "Judge",
    "JudgeZooJudge",
    "KeywordJudge",
    "LastNumber",
    "PanelJudge",
    "RefusalJudge",
    "RougeJudge",
    "RubricJudge",
    "RulesJudge",
]


def __getattr__(name: str) -> Any:
    # Loading torch and transformers takes seconds, which judges without a model need not wait for.
    if name == "ClassifierJudge":
        from ptst_pl.judges.classifier import ClassifierJudge

        return ClassifierJudge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
