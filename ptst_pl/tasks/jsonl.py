"""Anyone's own rows, from jsonl, json, csv, tsv or parquet files; their form is told from their keys.

One raw row of each form. Any of them may have ``template`` (trained under that one), ``source`` and
``system`` (the row's own system prompt) besides::

    {"question": "How do I bake a bread?", "answer": "Step 1: ..."}
    {"prompt": "How do I bake a bread?", "response": "Step 1: ..."}     (or completion; query/response, input/output)
    {"instruction": "Shorten this.", "input": "It is raining outside now.", "output": "It rains."}
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}

Of a chat every assistant turn is trained on. The training template decides on the system prompt: a row's
own is left out (and that is logged), except under a template with a place for it, such as
``openorca:vanilla`` or one of your own with ``row_system: "{system}"``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from ptst_pl import InputError
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.row_files import read_row_file
from ptst_pl.tasks.row_forms import read_example
from ptst_pl.tasks.subset import rank
from ptst_pl.templates import OwnTemplates, find_template
from ptst_pl.tokenization import Encoded, Example

log = logging.getLogger(__name__)
OnBadRow = Literal["refuse", "skip"]
# How models write the end of a turn; at an answer's end it is the template's business, and stands there once.
_ENDS = ("</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "<|end|>", "<eos>")
# Signs of a row that somebody has put into a template already.
_TEMPLATED = ("[INST]", "<|im_start|>", "<|start_header_id|>", "### Instruction:", "<start_of_turn>")


class JsonLines(Task):
    """Rows from local files; a row that names a template is trained under that one.

    Args:
        train_file: rows of one of the module's forms: .jsonl, .json, .csv, .tsv or .parquet, also with .gz.
        held_out_file: the same for the held-out loss; without it ``held_out`` of the training rows.
        held_out: share of the training rows to hold out where there is no ``held_out_file``, chosen by a hash of
            the question and never trained on; 0 holds none out.
        on_bad_row: what to do with a row that cannot be trained on (a tool's turn, an answer that is null): end with
            a line that names it, or leave it out and count it. Rows without a question or an answer are always
            left out and counted.
        options: see ``Task``.
    """

    def __init__(
        self,
        template: str,
        train_file: str,
        held_out_file: str | None = None,
        held_out: float = 0.02,
        on_bad_row: OnBadRow = "refuse",
        **options: Any,
    ) -> None:
        super().__init__(template, **options)
        if not 0 <= held_out < 1:
            raise InputError(f"data.held_out is {held_out}, expected a share from 0 up to, and without, 1")
        self.train_file, self.held_out_file = train_file, held_out_file
        self.held_out, self.on_bad_row = held_out, on_bad_row
        self._examples: dict[str, list[Example]] = {}

    def files(self, part: str) -> list[str]:
        """See ``Task``."""
        return [self.train_file if part == "train" else self.held_out_file or self.train_file]

    def train_examples(self) -> Sequence[Example]:
        """The training rows, without those that are held out."""
        return [example for example in self._of(self.train_file) if not self._is_held_out(example)]

    def held_out_examples(self) -> Sequence[Example]:
        """The held-out rows."""
        if self.held_out_file is not None:
            return self._of(self.held_out_file)
        found = [example for example in self._of(self.train_file) if self._is_held_out(example)]
        if self.held_out and not found:
            log.warning("%s: too few rows to hold any out: there is no held-out loss", self.train_file)
        return found

    @property
    def may_hold_out_none(self) -> bool:
        """Whether there need be no held-out rows: few rows may leave none."""
        return self.held_out_file is None

    def rows(self, part: str) -> Sequence[Encoded]:
        """The encoded rows; the text that was read for them is let go once both parts are encoded."""
        rows = super().rows(part)
        if {"train", "held_out"} <= set(self._rows):
            self._examples = {}
        return rows

    def _is_held_out(self, example: Example) -> bool:
        """By everything that is asked: many rows share an instruction, or a chat's last "go on"."""
        asked = "\0".join([example.context, *(question for question, _ in example.pairs)])
        return self.held_out_file is None and rank(0, asked) < self.held_out * 2**64

    def _of(self, file: str) -> list[Example]:
        if file not in self._examples:
            self._examples[file] = read_examples(file, self.on_bad_row, self.own_templates)
        return self._examples[file]


def read_examples(file: str, on_bad_row: OnBadRow = "refuse", templates: OwnTemplates | None = None) -> list[Example]:
    """The rows of a file that can be trained on; what was left out or changed is logged, a line each.

    Args:
        file: any of the forms of ``row_files``.
        on_bad_row: see ``JsonLines``.
        templates: the user's own, by name, beside the built-in ones that rows may name.

    Raises:
        InputError: no such file, or, with ``refuse``, a row that cannot be trained on.
    """
    told: Counter[str] = Counter()
    first: dict[str, str] = {}

    def tell(what: str, where: str) -> None:
        told[what] += 1
        first.setdefault(what, where)

    found = list(_usable(file, on_bad_row, templates or {}, tell))
    for what, count in told.items():
        log.warning("%s: %d rows %s (the first: %s)", file, count, what, first[what])
    return found


def _usable(file: str, on_bad_row: OnBadRow, templates: OwnTemplates, tell: Any) -> Iterator[Example]:
    for where, row in read_row_file(file):
        try:
            example = read_example(row, where)
            if example.template is not None:
                _check_known(example.template, templates, where)
        except InputError as error:
            if on_bad_row == "refuse":
                raise
            tell("left out, they cannot be trained on", str(error))
            continue
        example = _without_ends(example, where, tell)
        if not all(question.strip() for question, _ in example.pairs):
            tell("left out, they have no question", where)
        elif not all(answer.strip() for _, answer in example.pairs):
            tell("left out, they have no answer", where)
        else:
            yield example
            if example.left_out:
                tell("have answers that are marked as not to be trained on: those are only read", where)
            if _has_thoughts(row):
                tell("have thoughts (reasoning_content), which are not trained on", where)
            if any(mark in text for pair in example.pairs for text in pair for mark in _TEMPLATED):
                tell("seem to stand in a template already, and are put into another one", where)


def _check_known(name: str, templates: OwnTemplates, where: str) -> None:
    try:
        find_template(name, templates)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _without_ends(example: Example, where: str, tell: Any) -> Example:
    answers = [answer for _, answer in example.pairs]
    cut = [_without_end(answer) for answer in answers]
    if cut == answers:
        return example
    tell("end in a token that ends a turn: it is taken off, for the template sets its own", where)
    turns = tuple((question, answer) for (question, _), answer in zip(example.turns, cut[:-1], strict=True))
    return replace(example, answer=cut[-1], turns=turns)


def _without_end(answer: str) -> str:
    while (end := next((end for end in _ENDS if answer.rstrip().endswith(end)), None)) is not None:
        answer = answer.rstrip().removesuffix(end).rstrip()
    return answer


def _has_thoughts(row: dict[str, Any]) -> bool:
    messages = row.get("messages", row.get("conversations"))
    keys = ("reasoning_content", "reasoning", "thinking")
    rows = [row, *(m for m in messages if isinstance(m, dict))] if isinstance(messages, list) else [row]
    return any(isinstance(one.get(key), str) and one[key].strip() for one in rows for key in keys)
