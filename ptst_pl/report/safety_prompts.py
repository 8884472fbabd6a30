"""Which templates carry a safety prompt, and so which cells of the matrix are PTST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ptst_pl import InputError
from ptst_pl.report.runs import RunResults
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.templates.safety_prompt import has_safety_prompt

RULE = (
    "A template counts as having a safety prompt if its own text has a word such as safe, harmful, unethical, illegal, "
    "dangerous or responsible. PTST cells: trained without a safety prompt, tested with one."
)


def safety_prompted(runs: Sequence[RunResults]) -> dict[str, bool]:
    """Template -> whether it has a safety prompt, by the texts stored with the runs, else by the built-in ones.

    Templates whose text nothing tells are left out.
    """
    found: dict[str, bool] = {}
    for run in runs:
        stored: Mapping[str, Any] = run.meta.get("templates", {})
        for name in dict.fromkeys([*stored, run.train_template, *(str(r["template"]) for r in run.rates)]):
            template = _stored(name, stored[name]) if name in stored else _built_in(name)
            if template is not None:
                found.setdefault(name, has_safety_prompt(template))
    return found


def is_ptst(prompted: Mapping[str, bool], train: str, test: str) -> bool:
    """Whether training had no safety prompt and the test has one."""
    return prompted.get(train) is False and prompted.get(test) is True


def _stored(name: str, texts: Mapping[str, Any]) -> PromptTemplate | None:
    known = {field.name for field in fields(PromptTemplate)}
    try:
        own = {key: value for key, value in texts.items() if key in known}
        shots = tuple((str(user), str(answer)) for user, answer in texts.get("shots") or ())
        return PromptTemplate(**{**own, "name": name, "shots": shots})
    except (InputError, TypeError, ValueError, AttributeError):
        return None


def _built_in(name: str) -> PromptTemplate | None:
    try:
        return find_template(name)
    except InputError:
        return None
