"""Answers from elsewhere: a file with a question and an answer a row, and nothing else that we wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import Generation
from ptst_pl.suites.rows import find_column

QUESTIONS = ("question", "prompt", "instruction", "goal", "behavior", "input", "query")
ANSWERS = ("answer", "response", "completion", "output", "generation", "reply")
_IDS, _CATEGORIES, _ENDS = ("id", "prompt_id"), ("category", "type"), ("finish_reason",)


def read_answers(file: Path, measures: str) -> list[Generation]:
    """Every row as an answer to be judged; its suite is called as the file is.

    Raises:
        InputError: no rows, a row without question or answer, or two rows of one id.
    """
    from ptst_pl.tasks.row_files import read_row_file  # its room loads torch, which judging a run's answers need not

    found: dict[str, Generation] = {}
    for number, (where, row) in enumerate(read_row_file(str(file)), 1):
        generation = _generation(row, where, file.name.split(".")[0], str(number), measures)
        if found.setdefault(generation.prompt_id, generation) is not generation:
            raise InputError(f"{where}: id {generation.prompt_id!r} stands twice")
    if not found:
        raise InputError(f"{file}: no rows with a question and an answer")
    return list(found.values())


def _generation(row: dict[str, Any], where: str, suite: str, number: str, measures: str) -> Generation:
    question, answer = _text(row, QUESTIONS, where), _text(row, ANSWERS, where)
    told = {name: _optional(row, names) for name, names in (("id", _IDS), ("kind", _CATEGORIES), ("end", _ENDS))}
    return Generation(
        suite, told["id"] or number, told["kind"], question, "", "", answer, told["end"] or "stop", 0, {},
        measures=measures,
    )  # fmt: skip


def _text(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    column = find_column(map(str, row), names)
    if column is None:
        raise InputError(f"{where}: no key {' or '.join(names)} among {', '.join(map(str, row)) or 'none'}")
    if not isinstance(row[column], str):
        raise InputError(f"{where}: key {column!r} holds no text")
    return str(row[column])


def _optional(row: dict[str, Any], names: tuple[str, ...]) -> str:
    column = find_column(map(str, row), names)
    return "" if column is None or row[column] is None else str(row[column])
