"""Suites of conversations: the model's own answers stand in the prompts that follow, for all cases at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ptst_pl import InputError
from ptst_pl.evaluation.cells import Cell, answer_text
from ptst_pl.generation import Answer, Decoding
from ptst_pl.suites import PromptSuite
from ptst_pl.suites.rules import case_of, outcome, system_or_turn
from ptst_pl.templates import PromptTemplate
from ptst_pl.tokenization import Example, TemplateTokenizer


@dataclass(frozen=True)
class Told:
    """Where a case stands: the newest answer, and the texts of those before it."""

    answer: Answer
    earlier: tuple[str, ...] = ()


def first_cell(encoder: TemplateTokenizer, suite: PromptSuite, template: PromptTemplate, prefix: str) -> Cell:
    """Every case's first message.

    Raises:
        InputError: a text template, or a beginning for every answer.
    """
    if template.kind == "text":
        raise InputError(
            f"suite {suite.name}: {template.name} is plain text and holds no conversation; use a chat template"
        )
    if prefix:
        raise InputError(f"suite {suite.name}: decoding.prefix does not go with conversations; take one of them out")
    return turn_cell(encoder, suite, template, dict.fromkeys(range(len(suite.prompts)), ()))


def turn_cell(
    encoder: TemplateTokenizer, suite: PromptSuite, template: PromptTemplate, earlier: Mapping[int, Sequence[str]]
) -> Cell:
    """The next message of the cases whose earlier answers are given; of others there is an empty prompt."""
    ids: list[list[int]] = [[] for _ in suite.prompts]
    texts = [""] * len(suite.prompts)
    prompts = list(suite.prompts)
    for index, said in earlier.items():
        case = case_of(suite.prompts[index].reference or "")
        system, turns = system_or_turn(case, template)
        turns += tuple(zip(case.users, said, strict=False))
        user = case.users[len(said)]
        ids[index] = encoder.conversation_ids(Example(user, "", turns=turns, system=system), template)
        texts[index] = str(encoder.tokenizer.decode(ids[index]))
        prompts[index] = replace(prompts[index], text=user, context=json.dumps(list(said)) if said else "")
    turn = max((len(said) for said in earlier.values()), default=0)
    current = replace(suite, prompts=tuple(prompts))
    return Cell(current, template, texts, ids, encoder.end_id(template), [0] * len(ids), turn)


def still_open(
    encoder: TemplateTokenizer, cell: Cell, told: Mapping[int, Told], decoding: Decoding
) -> dict[int, tuple[str, ...]]:
    """Index -> all answers so far, of the cases that go on."""
    found = {}
    for index, one in told.items():
        said = (*one.earlier, answer_text(encoder, cell, index, one.answer, decoding))
        if outcome(case_of(cell.suite.prompts[index].reference or ""), said) == "open":
            found[index] = said
    return found


def most_turns(cells: Sequence[Cell]) -> int:
    """The longest case's number of messages."""
    return max(
        (
            len(case_of(p.reference or "").users)
            for cell in cells
            if cell.suite.conversational
            for p in cell.suite.prompts
        ),
        default=1,
    )
