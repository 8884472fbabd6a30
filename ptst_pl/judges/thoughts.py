"""What a thinking model tells the user: its answer without the thoughts, which no judge scores."""

from __future__ import annotations

from dataclasses import replace

from ptst_pl.results.records import Generation
from ptst_pl.templates.thoughts import usual_marks, without_thoughts


def without_thought(generation: Generation) -> Generation | None:
    """The generation with its answer as the user sees it; None if it ended before the thought did."""
    own = generation.decoding.get("thought_marks") or ()
    answer = without_thoughts(usual_marks(generation.answer, own), usual_marks(generation.prompt_text, own))
    if answer is None:
        return None
    return generation if answer == generation.answer.strip() else replace(generation, answer=answer)
