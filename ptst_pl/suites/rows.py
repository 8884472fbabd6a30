"""Raw rows, wherever they come from, and how one becomes a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ptst_pl import InputError
from ptst_pl.suites.prompts import CONTEXT_SEAM, Prompt, check_ids, fault

Row = dict[str, Any]
PROMPT_COLUMNS = ("prompt", "instruction", "goal", "question", "behavior", "forbidden_prompt")
CATEGORY_COLUMNS = ("category", "type", "semanticcategory")
REFERENCE_COLUMNS = ("answer", "reference")
ID_COLUMNS = ("id", "prompt_id", "behaviorid")
# HarmBench's: what stands there is asked together with the behaviour, or it would be another question.
CONTEXT_COLUMNS = ("contextstring",)


@dataclass(frozen=True)
class RowFile:
    """Rows as they were read, each with its number from 1, and what the file says of itself."""

    rows: Sequence[tuple[int, Row]]
    statement: str = ""
    notes: tuple[str, ...] = ()
    left_out: int = 0


def numbered(rows: Sequence[Row]) -> RowFile:
    """Rows numbered from 1."""
    return RowFile(list(enumerate(rows, 1)))


@dataclass(frozen=True)
class Wanted:
    """Which columns to look for: a name of the user's own is a must, of the usual ones the first that is there."""

    prompt: str | None = None
    category: str | None = None
    reference: str | None = None
    needs_reference: bool = False
    prompts: tuple[str, ...] = PROMPT_COLUMNS
    categories: tuple[str, ...] = CATEGORY_COLUMNS
    ids: tuple[str, ...] = ID_COLUMNS
    contexts: tuple[str, ...] = CONTEXT_COLUMNS
    needs_context: bool = False


@dataclass(frozen=True)
class _Columns:
    """Which column of a file holds what."""

    prompt: str
    category: str | None
    reference: str | None
    id: str | None
    context: str | None
    needs_context: bool


def column_names(rows: Iterable[tuple[int, Row]]) -> list[str]:
    """All columns that some row has, in order of first appearance."""
    return list(dict.fromkeys(key for _, row in rows for key in row))


def find_column(columns: Iterable[str], usual: Sequence[str]) -> str | None:
    """The first of the usual names that is among the columns, in any case."""
    lowered = {column.strip().lower(): column for column in reversed(list(columns))}
    return next((lowered[name] for name in usual if name in lowered), None)


def to_prompts(rows: Sequence[tuple[int, Row]], wanted: Wanted, name: str, where: str) -> list[Prompt]:
    """Prompts of checked rows; a row without an id gets the suite's name and its number.

    Raises:
        InputError: a missing column, a prompt that is empty or no text, or an id that stands twice.
    """
    if not rows:
        return []
    columns = _find_columns(column_names(rows), wanted, where)
    prompts = [_to_prompt(row, f"{name}-{number:04d}", columns, f"{where} row {number}") for number, row in rows]
    check_ids(prompts, [number for number, _ in rows], where)
    return prompts


def _find_columns(columns: list[str], wanted: Wanted, where: str) -> _Columns:
    def find(key: str, own: str | None, usual: Sequence[str], needed: bool) -> str | None:
        found = (own if own in columns else None) if own else find_column(columns, usual)
        if found is None and (own or needed):
            names = own or " or ".join(usual)
            raise InputError(f"{where}: no column {names} among {', '.join(columns)}; name it with {key}")
        return found

    prompt = find("prompt_column", wanted.prompt, wanted.prompts, True)
    category = find("category_column", wanted.category, wanted.categories, False)
    reference = find("reference_column", wanted.reference, REFERENCE_COLUMNS, wanted.needs_reference)
    context = find_column(columns, wanted.contexts)
    if wanted.needs_context and context is None:
        raise InputError(f"{where}: no column {' or '.join(wanted.contexts)} of contexts among {', '.join(columns)}")
    assert prompt is not None
    return _Columns(prompt, category, reference, find_column(columns, wanted.ids), context, wanted.needs_context)


def _to_prompt(row: Row, number: str, columns: _Columns, where: str) -> Prompt:
    text = _needed(row, columns.prompt, where)
    read = _needed if columns.needs_context else _cell
    context = (read(row, columns.context, where) or "") if columns.context else ""
    return Prompt(
        id=_cell(row, columns.id, where) or number,
        text=context + CONTEXT_SEAM + text if context else text,
        category=_cell(row, columns.category, where) or "",
        reference=_cell(row, columns.reference, where),
        goal=(_cell(row, "goal", where) or "") if columns.prompt != "goal" else "",
        context=context,
    )


def _needed(row: Row, column: str, where: str) -> str:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}: column {column!r} is empty or no text")
    return _usable(text, column, where)


def _cell(row: Row, column: str | None, where: str) -> str | None:
    """A cell as text; None where the column, the cell or its content is missing."""
    value = row.get(column) if column else None
    return None if value in (None, "") else _usable(str(value), str(column), where)


def _usable(text: str, column: str, where: str) -> str:
    if wrong := fault(text):
        raise InputError(f"{where}: column {column!r} holds {wrong}")
    return text
