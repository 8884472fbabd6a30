"""RuLES (arXiv 2311.04235): rules in a conversation, kept or broken, found out by program and not by a judge model."""

from ptst_pl.suites.rules.cases import KINDS, SUITES, Case, case_of, make_cases
from ptst_pl.suites.rules.files import read_cases
from ptst_pl.suites.rules.scenarios import SCENARIOS, WORDING
from ptst_pl.suites.rules.transcript import Outcome, outcome, system_or_turn

__all__ = [
    "KINDS", "SCENARIOS", "SUITES", "WORDING", "Case", "Outcome", "case_of", "make_cases", "outcome", "read_cases",
    "system_or_turn",
]  # fmt: skip
