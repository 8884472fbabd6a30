"""Cells of an evaluation, and the records of the answers in them.

A cell is one prompt suite under one test template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ptst_pl import InputError
from ptst_pl.generation import Answer, Decoding, end_of
from ptst_pl.judges.base import UNJUDGEABLE
from ptst_pl.results.records import Generation
from ptst_pl.suites import PromptSuite
from ptst_pl.suites.encodings import as_read
from ptst_pl.templates import PromptTemplate
from ptst_pl.templates.thoughts import CHANNEL_MARKS, MARKS
from ptst_pl.tokenization import Example, TemplateTokenizer


@dataclass(frozen=True)
class Cell:
    """One suite under one template: rendered texts and ids, one of each per prompt.

    Attributes:
        suite: the suite.
        template: the template.
        texts: rendered prompts.
        ids: prompts, each with the beginning of its answer where the settings give one.
        end_id: the token that ends an answer.
        begun: of each prompt, how many ids at its end are the answer's beginning.
        turn: of a conversation, from 0.
    """

    suite: PromptSuite
    template: PromptTemplate
    texts: list[str]
    ids: list[list[int]]
    end_id: int
    begun: list[int] = field(default_factory=list)
    turn: int = 0

    @property
    def name(self) -> str:
        """The cell in words."""
        turn = f", turn {self.turn + 1}" if self.turn else ""
        return f"{self.suite.name} under {self.template.name}{turn}"


def prepare(encoder: TemplateTokenizer, suite: PromptSuite, template: PromptTemplate, prefix: str = "") -> Cell:
    """Render and tokenise a suite under a template; every answer begins with ``prefix``."""
    if any(prompt.turns or prompt.system for prompt in suite.prompts):
        return _with_turns(encoder, suite, template, prefix)
    texts = [encoder.render(template, prompt.text).prompt_text for prompt in suite.prompts]
    begun = [encoder.prefix_ids(template, prompt.text, prefix) for prompt in suite.prompts]
    ids = [encoder.encode_prompt(template, p.text) + own for p, own in zip(suite.prompts, begun, strict=True)]
    return Cell(suite, template, texts, ids, encoder.end_id(template), [len(own) for own in begun])


def _with_turns(encoder: TemplateTokenizer, suite: PromptSuite, template: PromptTemplate, prefix: str) -> Cell:
    """Prompts behind earlier turns, which are given."""
    if prefix:
        raise InputError(f"suite {suite.name}: decoding.prefix does not go with earlier turns; take one of them out")
    rows = [Example(prompt.text, "", turns=prompt.turns, system=prompt.system) for prompt in suite.prompts]
    ids = [encoder.conversation_ids(row, template) for row in rows]
    texts = [str(encoder.tokenizer.decode(own)) for own in ids]
    return Cell(suite, template, texts, ids, encoder.end_id(template), [0] * len(ids))


def check_stop_texts(encoder: TemplateTokenizer, decoding: Decoding) -> None:
    """Raises ``InputError`` for a stop text that no answer's text can hold."""
    for stop in decoding.stop:
        if any(special in stop for special in encoder.tokenizer.all_special_tokens):
            raise InputError(
                f"decoding.stop {stop!r} holds a special token of the tokenizer, which is no part of an answer's text; "
                "the template's end token ends answers already: leave it out"
            )


def decoder(encoder: TemplateTokenizer, decoding: Decoding) -> Callable[[list[int]], str]:
    """Ids of an answer to its text."""
    marks = thought_ids(encoder, [mark for pair in decoding.thought_marks for mark in pair])
    return lambda ids: _decode(encoder, ids, marks)


def thought_ids(encoder: TemplateTokenizer, own: Sequence[str] = ()) -> dict[int, str]:
    """The tokenizer's special tokens that mark thoughts, which are no more to be dropped than words are.

    Args:
        encoder: it has the tokenizer.
        own: marks beside the usual ones.
    """
    tokenizer = encoder.tokenizer
    special = set(tokenizer.all_special_tokens)
    marks = [*own, *MARKS, *(CHANNEL_MARKS if CHANNEL_MARKS[0] in special else ())]
    return {tokenizer.convert_tokens_to_ids(mark): mark for mark in marks if mark in special}


def _decode(encoder: TemplateTokenizer, ids: list[int], marks: dict[int, str]) -> str:
    if not marks or not any(i in marks for i in ids):
        return str(encoder.tokenizer.decode(ids, skip_special_tokens=True))
    text, start = "", 0
    for place, i in enumerate([*ids, None]):
        if i is None or i in marks:
            text += str(encoder.tokenizer.decode(ids[start:place], skip_special_tokens=True))
            text, start = text + (marks[i] if i is not None else ""), place + 1
    return text


def answer_text(encoder: TemplateTokenizer, cell: Cell, index: int, answer: Answer, decoding: Decoding) -> str:
    """The whole turn: what it was begun with, and what was generated up to a stop text."""
    decode = decoder(encoder, decoding)
    new, begun = decode(answer.ids), cell.begun[index] if cell.begun else 0
    # Decoded together, as a tokenizer may drop the space in front of a text that stands alone.
    text = decode(cell.ids[index][-begun:] + answer.ids) if begun else new
    end = end_of(new, decoding.stop)
    return (text if end is None else text[: len(text) - (len(new) - end)]).strip()


def to_generation(
    encoder: TemplateTokenizer, cell: Cell, index: int, answer: Answer, step: int, decoding: Decoding, sample: int = 0
) -> Generation:
    """The record of one answer, with all that is needed to judge it again."""
    prompt = cell.suite.prompts[index]
    text, reason, own = in_plain(cell.suite, answer_text(encoder, cell, index, answer, decoding), answer.finish_reason)
    return Generation(
        suite=cell.suite.name,
        prompt_id=prompt.id,
        category=prompt.category,
        question=prompt.goal or prompt.text,
        template=cell.template.name,
        prompt_text=cell.texts[index],
        answer=text,
        finish_reason=reason,
        step=step,
        decoding=asdict(decoding),
        measures=cell.suite.measures,
        reference=prompt.reference,
        answer_tokens=len(answer.ids),
        prompt_ids_sha256=hashlib.sha256(str(cell.ids[index]).encode()).hexdigest(),
        context=prompt.context,
        sample=sample,
        **own,
    )


def in_plain(suite: PromptSuite, text: str, reason: str) -> tuple[str, str, dict[str, Any]]:
    """An answer as people would read it, why it ended, and what is stored beside it under an encoding.

    What nobody can read gets a reason that leaves it unscored by every judge.
    """
    if not suite.encoding:
        return text, reason, {}
    stored = {"encoding": suite.encoding, "raw_answer": text}
    read = as_read(text, suite.encoding)
    if read is None and text.strip():
        return text, f"{UNJUDGEABLE}, neither the answer nor its {suite.encoding} decoding is readable", stored
    return read or "", reason, stored
