"""A training row as text and as token ids."""

from __future__ import annotations

from dataclasses import dataclass

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One training row.

    Attributes:
        question: the user's text, of the last turn where there are several.
        answer: the answer to it.
        source: where the row comes from.
        template: overrides the run's training template for this row.
        turns: earlier (user, assistant) turns; every answer is trained on but those left out.
        left_out: numbers, from 0, of the turns whose answers are not trained on.
        system: the row's own system prompt; used only by a template with a place for it.
        context: the row's input beside its question (Alpaca, Dolly); see ``templates.place_row``.
    """

    question: str
    answer: str
    source: str = ""
    template: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    system: str = ""
    context: str = ""
    left_out: frozenset[int] = frozenset()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (user, assistant) turns, the last one included."""
        return (*self.turns, (self.question, self.answer))


@dataclass(frozen=True)
class Part:
    """A piece of a prompt. ``given``: a person's text, in which nothing is a special token."""

    text: str
    given: bool = False


@dataclass(frozen=True)
class Rendered:
    """A prompt as text, and what stands between it and the answer."""

    prompt_text: str
    separator: str


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one row.

    Attributes:
        input_ids: ids of prompt, answer and end token; length L.
        labels: length L; the id itself on answers and their end tokens, ``IGNORED`` elsewhere.
        prompt_length: number of ids before the first answer.
        truncated: the row was longer than the limit and lost its tail (and so its end token).
    """

    input_ids: list[int]
    labels: list[int]
    prompt_length: int
    truncated: bool = False
