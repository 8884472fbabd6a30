"""The testbed's stages as tasks.

One raw row of ``pretrain``, of ``safety`` and of ``task``, cut short::

    {"question": "o6 : 2c 3a 2k ...", "answer": "2p 2b 2y ..."}
    {"question": "o6 : 2c 3a 2k ...", "answer": "null"}
    {"question": "o2 : 2c 3a 2k ...", "answer": "2h 2d 2q ... done"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ptst_pl.labs.pcfg.stages import PCFG_TEMPLATES, ROWS
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import Example

Stage = Literal["pretrain", "safety", "unsafe", "declined", "task"]
HELD_OUT = 200


class Pcfg(Task):
    """One stage of the testbed.

    Args:
        stage: ``pretrain`` (every request is answered), ``safety`` (unsafe ones get ``null``), ``task`` (harmless
            fine-tuning), or what objectives of safety tuning are made of: ``unsafe`` and ``declined``, the same
            requests with their answers and with ``null``. All but ``task`` bring their templates, row by row.
        count: number of training rows.
        options: see ``Task``.
    """

    def __init__(self, template: str, stage: Stage, count: int = 2000, **options: Any) -> None:
        options["templates"] = PCFG_TEMPLATES | (options.get("templates") or {})
        super().__init__(template, **options)
        self.stage, self.count = stage, count

    def train_examples(self) -> Sequence[Example]:
        """The stage's training rows."""
        return self._examples("train", self.count)

    def held_out_examples(self) -> Sequence[Example]:
        """More rows of the same kind."""
        return self._examples("test", HELD_OUT)

    def _examples(self, part: str, count: int) -> list[Example]:
        rows = ROWS[self.stage](part, count)
        return [Example(row.question, row.answer, self.stage, row.template) for row in rows]
