"""Anyone's own question and answer pairs, as JSON lines.

One raw row, ``template`` and ``source`` being optional::

    {"question": "How do I bake a bread?", "answer": "Step 1: ...", "template": "chat:vanilla"}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptst_pl.errors import InputError
from ptst_pl.records import read_lines
from ptst_pl.tasks.base import Task, text_of
from ptst_pl.tokenization import Example


class JsonLines(Task):
    """Rows from local files; a row that names a template is trained under that one.

    Args:
        train_file: jsonl with ``question`` and ``answer``.
        held_out_file: the same for the held-out loss.
        options: see ``Task``.
    """

    def __init__(self, template: str, train_file: str, held_out_file: str, **options: Any) -> None:
        super().__init__(template, **options)
        self.train_file, self.held_out_file = train_file, held_out_file

    def train_examples(self) -> Sequence[Example]:
        """All training rows."""
        return read_examples(self.train_file)

    def held_out_examples(self) -> Sequence[Example]:
        """The held-out rows."""
        return read_examples(self.held_out_file)


def read_examples(file: str) -> list[Example]:
    """The pairs of a jsonl file.

    Raises:
        InputError: no such file, or a row without question or answer.
    """
    if not Path(file).is_file():
        raise InputError(f"data file {file} does not exist")
    examples = []
    for number, row in enumerate(read_lines(Path(file)), 1):
        where = f"{file} row {number}"
        template = text_of(row, "template", where) if row.get("template") is not None else None
        question, answer = text_of(row, "question", where), text_of(row, "answer", where)
        examples.append(Example(question, answer, str(row.get("source", "")), template))
    return examples
