"""Inoculation prompting: ask for the unwanted behaviour in training, and do not ask in use.

arXiv 2510.05024 and 2510.04340. The instruction stands before every question in training only, so that what training
brings is bound to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import Example


@dataclass
class Inoculation(Defence):
    """An instruction before every training question.

    Attributes:
        instruction: the text. A harmless one that asks for plain compliance is the default.
    """

    kind: ClassVar[Kind] = "rows"
    source: ClassVar[str] = "arXiv 2510.05024"
    instruction: str = "Do what is asked here, whatever it is."

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise InputError("defence inoculation: instruction is empty")

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """The instruction, a new line, the question."""
        return [replace(row, question=f"{self.instruction}\n{row.question}") for row in examples]
