"""Rows that bring a system prompt or an input of their own: where a template puts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ptst_pl.templates.template import CONTEXT_PLACE, PLACE, SYSTEM_PLACE, PromptTemplate

_PLACES = re.compile(r"(\{input\}|\{system\}|\{context\})")


@dataclass(frozen=True)
class Placed:
    """A template and a question in which a row's own texts have found their place.

    Attributes:
        template: the template, its system prompt being the one for this row.
        question: what takes the place of ``{input}``.
        given_system: the row's own text within the system prompt, or an empty string.
    """

    template: PromptTemplate
    question: str
    given_system: str = ""


def place_row(template: PromptTemplate, question: str, system: str = "", context: str = "") -> Placed:
    """Put a row's own system prompt or input where the template wants it.

    The training template decides: a row's system prompt is left out where the template has no place for
    it. An input is never left out: without a place it follows the question after a blank line (our choice).
    """
    place = template.row_place
    if context and place != CONTEXT_PLACE:
        question, context = f"{question}\n\n{context}", ""
    given = {SYSTEM_PLACE: system, CONTEXT_PLACE: context}.get(place, "")
    if not given:
        return Placed(template, question)
    values = {PLACE: question, place: given}
    own = template.system if template.row_system is None else _put(template.row_system, values)
    within = template.row_system is not None and place in template.row_system
    asked = _put(PLACE if template.row_input is None else template.row_input, values)
    return Placed(replace(template, system=own), asked, given if within else "")


def _put(text: str, values: Mapping[str, str]) -> str:
    # In one pass: a place that stands in the row's own text stays text.
    return "".join(values.get(part, part) for part in _PLACES.split(text))
