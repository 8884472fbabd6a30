"""``predict``: answers for a file of prompts under one template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch.utils.data import DataLoader

from ptst_pl import InputError
from ptst_pl.evaluation.cells import Cell, check_stop_texts, decoder, prepare, to_generation
from ptst_pl.generation import Answer, Backend, Decoding, PromptBatch
from ptst_pl.results.records import to_lines, write_text
from ptst_pl.suites import load_as_is
from ptst_pl.tasks.base import Task
from ptst_pl.templates import find_template


@dataclass
class PredictSettings:
    """What ``predict`` answers, and where it writes.

    Attributes:
        prompts: csv, json or jsonl file with a prompt or question column.
        template: name of the template to answer under.
        output: file to write; ``generations.jsonl`` here unless given.
        decoding: how answers are generated.
    """

    prompts: str | None = None
    template: str | None = None
    output: str = "generations.jsonl"
    decoding: Decoding = field(default_factory=Decoding)

    def load(self, task: Task) -> Cell:
        """Read, render and tokenise the prompts, before a model is loaded.

        Raises:
            InputError: a setting is missing, or the file or template cannot be used.
        """
        if not self.prompts or not self.template:
            raise InputError("predict: give --prediction.prompts FILE and --prediction.template NAME")
        self.decoding.check_local()
        check_stop_texts(task.encoder, self.decoding)
        suite = load_as_is(Path(self.prompts).stem, self.prompts)
        template = find_template(self.template, task.own_templates)
        return prepare(task.encoder, suite, template, self.decoding.prefix)


def prompt_loader(
    cell: Cell,
    decoding: Decoding,
    task: Task,
    progress: Callable[[int], object] = lambda done: None,
    made: Callable[[int], object] = lambda tokens: None,
) -> DataLoader[PromptBatch]:
    """All prompts as one batch: what generates cuts it up as suits it.

    Several samples of a prompt stand side by side, sample ``s`` of prompt ``p`` with the number
    ``p * samples + s``.
    """
    numbers = list(range(len(cell.ids) * decoding.samples))
    batch = PromptBatch(
        indices=numbers,
        prompts=[cell.ids[number // decoding.samples] for number in numbers],
        end_id=cell.end_id,
        pad_id=task.encoder.pad_id,
        decoding=decoding,
        samples=[number % decoding.samples for number in numbers],
        decode=decoder(task.encoder, decoding),
        progress=progress,
        made=made,
    )
    return DataLoader([batch], batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


def write_answers(
    settings: PredictSettings,
    cell: Cell,
    task: Task,
    answers: Sequence[dict[int, Answer]],
    step: int,
    backend: Backend,
) -> Path:
    """One Generation a line, in the file's order, written whole or not at all; samples of a prompt side by side."""
    by_number = {number: answer for part in answers for number, answer in part.items()}
    used, samples = replace(settings.decoding, backend=backend), settings.decoding.samples
    records = [
        to_generation(task.encoder, cell, number // samples, by_number[number], step, used, number % samples)
        for number in range(len(cell.ids) * samples)
    ]
    path = Path(settings.output)
    write_text(path, to_lines(records))
    return path
