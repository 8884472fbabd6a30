"""From a raw row to a training pair: its form is told from its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ptst_pl import InputError
from ptst_pl.tasks.chat_rows import chat_example, check_marks, sharegpt_example
from ptst_pl.tokenization import Example

Reader = Callable[[dict[str, Any], str], Example]


def read_example(row: dict[str, Any], where: str) -> Example:
    """One row.

    Raises:
        InputError: a row of none of the forms, of several, or with something in it that cannot be trained on.
    """
    if {"chosen", "rejected"} <= row.keys():
        raise InputError(f"{where}: a preference row (chosen, rejected); keep the answer to train on, as 'answer'")
    check_marks(row, f"{where}: it")
    found = [keys for keys in _FORMS if row.keys() >= set(keys)]
    if any("instruction" in keys for keys in found):
        found = [keys for keys in found if keys != ("input", "output")]
    if len(found) > 1:
        forms = " and ".join("/".join(keys) for keys in found)
        raise InputError(f"{where}: keys of several forms ({forms}); keep those of one")
    if not found:
        raise InputError(_no_form(row, where))
    example = _FORMS[found[0]](row, where)
    own = {key: text_in(row, key, where) for key in ("template", "system") if row.get(key) not in (None, "")}
    if isinstance(row.get("template"), int | float):
        raise InputError(f"{where}: key 'template' is missing or no text (keys: {', '.join(map(str, row))})")
    source = "" if row.get("source") is None else str(row["source"])
    system = own.get("system") or example.system
    return replace(example, source=source, template=own.get("template"), system=system)


def text_in(row: dict[str, Any], key: str, where: str) -> str:
    """A row's text under ``key``; a number becomes text.

    Raises:
        InputError: the key is missing, or holds no text.
    """
    value = row.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: key {key!r} is missing or no text (keys: {', '.join(map(str, row))})")
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(f"{where}: key {key!r} holds half a character (a lone surrogate)")
    return value


def _no_form(row: dict[str, Any], where: str) -> str:
    keys = ", ".join(map(str, row)) or "none"
    for form in _FORMS:
        missing = [key for key in form if key not in row]
        if 0 < len(missing) < len(form):
            return f"{where}: key {missing[0]!r} is missing or no text (keys: {keys})"
    return f"{where}: found keys {keys}; expected {', '.join('/'.join(form) for form in _FORMS)}"


def _pair(question: str, answer: str) -> Reader:
    def read(row: dict[str, Any], where: str) -> Example:
        if isinstance(row[question], list) and isinstance(row[answer], list):  # both as messages
            return chat_example({"messages": [*row[question], *row[answer]]}, where)
        return Example(text_in(row, question, where), text_in(row, answer, where))

    return read


def _alpaca(answer: str) -> Reader:
    def read(row: dict[str, Any], where: str) -> Example:
        context = text_in(row, "input", where) if row.get("input") is not None else ""
        question = text_in(row, "instruction", where)
        return Example(question, text_in(row, answer, where), context=context if context.strip() else "")

    return read


_FORMS: dict[tuple[str, ...], Reader] = {
    ("question", "answer"): _pair("question", "answer"),
    ("prompt", "response"): _pair("prompt", "response"),
    ("prompt", "completion"): _pair("prompt", "completion"),
    ("query", "response"): _pair("query", "response"),
    ("instruction", "output"): _alpaca("output"),
    ("instruction", "response"): _alpaca("response"),
    ("input", "output"): _pair("input", "output"),
    ("messages",): chat_example,
    ("conversations",): sharegpt_example,
}
