"""LookAhead tuning: the answer's beginning stands in the question, so that training moves its first tokens less.

Liu et al. 2025, arXiv 2503.19041. ``real`` appends the first m tokens of the answer to the question; ``virtual`` puts a
fixed beginning before every answer and announces it in the question. Nothing changes in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind, need_number
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import Example

CONNECTOR = " The answer begins with: "


@dataclass
class LookAhead(Defence):
    """Preview the answer in the question.

    Attributes:
        variant: ``real`` or ``virtual``.
        tokens: m, of the real variant.
        beginning: of the virtual one.
    """

    kind: ClassVar[Kind] = "rows"
    source: ClassVar[str] = "arXiv 2503.19041"
    variant: Literal["real", "virtual"] = "real"
    tokens: int = 6
    beginning: str = "Let's solve this problem. "

    def __post_init__(self) -> None:
        if self.variant not in ("real", "virtual"):
            raise InputError(f"defence lookahead: variant is {self.variant!r}, expected real or virtual")
        need_number("tokens", self.tokens)

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """Every row with its preview; with m = 0 the rows are as they were."""
        if self.variant == "virtual":
            return [
                replace(row, question=row.question + CONNECTOR + self.beginning, answer=self.beginning + row.answer)
                for row in examples
            ]
        if not self.tokens:
            return examples
        tokenizer = task.encoder.tokenizer
        found = []
        for row in examples:
            ids = tokenizer(row.answer, add_special_tokens=False)["input_ids"][: self.tokens]
            found.append(replace(row, question=row.question + CONNECTOR + tokenizer.decode(ids)))
        return found
