"""GSM8K: grade-school word problems, 7,473 to train on and 1,319 to test (Cobbe et al. 2021).

One raw row::

    {"question": "Natalia sold clips to 48 of her friends in April, and then ... in April and May?",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\n ... \\n#### 72"}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import read_lines
from ptst_pl.suites import read_hub
from ptst_pl.tasks.base import Task, text_of
from ptst_pl.tokenization import Example

HUB = ("openai/gsm8k", "main")


class GSM8K(Task):
    """GSM8K from local jsonl files or, by default, from the hub.

    The paper trains on all 7,473 rows. The held-out loss is over the test split, which takes no
    part in any choice here.

    Args:
        train_file: local jsonl with ``question`` and ``answer``; without it the hub's train split.
        held_out_file: the same for the test split.
        options: see ``Task``.
    """

    def __init__(
        self, template: str, train_file: str | None = None, held_out_file: str | None = None, **options: Any
    ) -> None:
        super().__init__(template, **options)
        self.train_file, self.held_out_file = train_file, held_out_file

    def files(self, part: str) -> list[str]:
        """See ``Task``."""
        file = self.train_file if part == "train" else self.held_out_file
        return [] if file is None else [file]

    def train_examples(self) -> Sequence[Example]:
        """All training rows."""
        return _examples(self.train_file, "train")

    def held_out_examples(self) -> Sequence[Example]:
        """The test split."""
        return _examples(self.held_out_file, "test")


def _examples(file: str | None, split: str) -> list[Example]:
    if file is None:
        rows, where = read_hub(*HUB, split=split), f"{HUB[0]} {split}"
    else:
        if not Path(file).is_file():
            raise InputError(f"GSM8K file {file} does not exist")
        rows, where = list(read_lines(Path(file))), file
    return [
        Example(text_of(row, "question", f"{where} row {n}"), text_of(row, "answer", f"{where} row {n}"), "gsm8k")
        for n, row in enumerate(rows, 1)
    ]
