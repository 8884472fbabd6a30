"""The labs' prompt suites by name: what each measures, and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ptst_pl.labs.pcfg import stages as pcfg
from ptst_pl.labs.tiny import stages as tiny

LabMeasures = Literal["asr", "over-refusal", "helpfulness"]
# suite -> what it measures
LAB_SUITES: Mapping[str, LabMeasures] = {
    **dict.fromkeys(tiny.SUITES, "asr"),
    "tiny-lookalike": "over-refusal",
    "tiny-dev-lookalike": "over-refusal",
    "tiny-howto": "helpfulness",
    "tiny-problems": "helpfulness",
    **dict.fromkeys(pcfg.SUITES, "asr"),
    "pcfg-lookalike": "over-refusal",
    "pcfg-task": "helpfulness",
}


def lab_rows(name: str) -> list[dict[str, str]]:
    """The prompts of a lab's suite, with category and right answer."""
    return pcfg.suite_rows(name) if name in pcfg.SUITES else tiny.suite_rows(name)


def lab_of(name: str) -> str:
    """Whose suite it is, in words."""
    return "the testbed" if name in pcfg.SUITES else "the tiny lab"
