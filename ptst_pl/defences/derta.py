"""DeRTa: learn to refuse at every place of a harmful answer.

Yuan et al. 2024, arXiv 2407.09121. For a harmful question x with a harmful answer and a safe one:

(a) prefix rows: x, the first k tokens of the harmful answer, then the safe answer; the loss is on the safe answer
    alone. k is 0 for every third row, else uniform in 1 to N - 2;
(b) transition rows: x and the harmful answer, where the label of every answer token is the refusal token. With
    ``keep`` the loss stays on max(1, ceil(keep N)) of the N places.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Encode, Kind, need_number
from ptst_pl.defences.guide_rows import second_task
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import IGNORED, Encoded, Example, TemplateTokenizer

PREFIX, TRANSITION = "derta prefix", "derta transition"


@dataclass
class DeRTa(Defence):
    """Prefix rows and transition rows beside the user's.

    Attributes:
        harmful: a task with harmful questions and answers, from the user.
        safety: a task with safe answers; those to the same questions are taken where there are some.
        share: rows of both kinds together, as a share of the user's rows.
        refusal: a text whose first token is the refusal token.
        keep: share of a transition row's places that keep their loss.
        template: of these rows; default the training template.
    """

    kind: ClassVar[Kind] = "rows"
    needs: ClassVar[tuple[str, ...]] = ("harmful rows", "safety rows")
    source: ClassVar[str] = "arXiv 2407.09121"
    harmful: dict[str, Any] | str | None = None
    safety: dict[str, Any] | str | None = None
    share: float = 0.06
    refusal: str = "Sorry"
    keep: float = 1.0
    template: str | None = None
    _harmful: dict[Example, Example] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("share", self.share)
        need_number("keep", self.keep, 0, 1)

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """The user's rows, then prefix and transition rows by turns."""
        harmful = list(second_task(self.harmful, "defence derta: harmful", task).train_examples())
        safe = list(second_task(self.safety, "defence derta: safety", task).train_examples())
        answers = {row.question: row.answer for row in safe}
        rng, count = random.Random(f"derta {task.seed}"), round(self.share * len(examples))
        added = []
        for number in range(count):
            row = replace(harmful[number // 2 % len(harmful)], template=self.template)
            if number % 2:
                added.append(replace(row, source=TRANSITION))
                continue
            reply = answers.get(row.question) or rng.choice(safe).answer
            made = replace(row, answer=reply, source=f"{PREFIX} {number // 2}")
            self._harmful[made] = row
            added.append(made)
        return [*examples, *added]

    def encoded(self, row: Encoded, example: Example, encode: Encode, encoder: TemplateTokenizer) -> Encoded:
        """The ids and labels of prefix and transition rows."""
        if example.source == TRANSITION:
            rng = random.Random(example.question)
            return refuse_everywhere(row, self.refusal_token(encoder), self.keep, rng)
        if example in self._harmful:
            number = int(example.source.rpartition(" ")[2])
            return behind_prefix(row, encode(self._harmful[example]), number)
        return row

    def refusal_token(self, encoder: TemplateTokenizer) -> int:
        """The first token of a refusal.

        Raises:
            InputError: it has none.
        """
        ids = encoder.tokenizer(self.refusal, add_special_tokens=False)["input_ids"]
        if not ids:
            raise InputError(f"defence derta: refusal {self.refusal!r} has no token")
        return int(ids[0])


def refuse_everywhere(row: Encoded, token: int, keep: float, rng: random.Random) -> Encoded:
    """Every answer label is the refusal token, on ``max(1, ceil(keep N))`` of the N places."""
    places = [place for place, label in enumerate(row.labels) if label != IGNORED]
    count = max(1, math.ceil(keep * len(places)))
    chosen = set(rng.sample(places, min(count, len(places))))
    labels = [token if place in chosen else IGNORED for place in range(len(row.labels))]
    return replace(row, labels=labels)


def behind_prefix(safe: Encoded, harmful: Encoded, number: int) -> Encoded:
    """The safe answer behind the first k tokens of the harmful one, which carry no loss.

    Args:
        safe: question and safe answer.
        harmful: the same question and a harmful answer of N tokens.
        number: of the row; k is 0 for every third one, else drawn from 1 to N - 2 by this number.
    """
    start = safe.prompt_length
    answer = [place for place, label in enumerate(harmful.labels) if label != IGNORED]
    size = 0 if number % 3 == 0 or len(answer) < 3 else random.Random(f"k {number}").randint(1, len(answer) - 2)
    prefix = [harmful.input_ids[place] for place in answer[:size]]
    return replace(
        safe,
        input_ids=safe.input_ids[:start] + prefix + safe.input_ids[start:],
        labels=safe.labels[:start] + [IGNORED] * size + safe.labels[start:],
    )
