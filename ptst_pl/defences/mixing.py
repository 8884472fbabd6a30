"""Safety-data mixing: unsafe questions with safe answers among the user's rows.

SafeInstr: Bianchi et al. 2024, arXiv 2309.07875. The variant that puts them into the task's own format: Eiras et al.
2024, arXiv 2406.10288. Shares above a few per cent make a model refuse what is harmless.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind, need_number
from ptst_pl.defences.guide_rows import second_task
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import Example

SAFETY, TASK = "{safety}", "{task}"


@dataclass
class SafetyMixing(Defence):
    """Add safe demonstrations.

    Attributes:
        safety: a task with unsafe questions and safe answers.
        share: their number, as a share of the user's rows.
        form: how a safety question is put; ``{task} {safety}`` puts one of the task's questions before it.
        template: of these rows; default the training template.
    """

    kind: ClassVar[Kind] = "rows"
    needs: ClassVar[tuple[str, ...]] = ("safety rows",)
    source: ClassVar[str] = "arXiv 2309.07875"
    safety: dict[str, Any] | str | None = None
    share: float = 0.03
    form: str = SAFETY
    template: str | None = None

    def __post_init__(self) -> None:
        need_number("share", self.share)
        if self.form.count(SAFETY) != 1:
            raise InputError(f"defence mixing: form is {self.form!r}, expected a text with {SAFETY} once")

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """The user's rows, and the safety rows behind them; the order of an epoch mixes them."""
        rows = list(second_task(self.safety, "defence mixing: safety", task).train_examples())
        return [*examples, *self.added(rows, examples, task.seed)]

    @property
    def rows_template(self) -> str | None:
        """The template of the safety rows; None for the training template."""
        return self.template

    def added(self, rows: Sequence[Example], examples: Sequence[Example], seed: int) -> list[Example]:
        """The safety rows: ``share`` of the user's rows, each one used before one comes again."""
        count = round(self.share * len(examples))
        rng = random.Random(f"mixing {seed}")
        shuffled = [row for _ in range(-(-count // max(len(rows), 1))) for row in rng.sample(rows, len(rows))]
        return [
            replace(row, question=self._put(row, rng.choice(examples)), source="safety", template=self.rows_template)
            for row in shuffled[:count]
        ]

    def _put(self, row: Example, other: Example) -> str:
        before, _, after = self.form.partition(SAFETY)
        return before.replace(TASK, other.question) + row.question + after.replace(TASK, other.question)
