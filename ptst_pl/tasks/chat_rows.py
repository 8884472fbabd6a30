"""Chat rows: a list of messages, which must be (system,) user, assistant, user, assistant, ..."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from ptst_pl.errors import InputError
from ptst_pl.tokenization import Example

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant", "bing": "assistant", "model": "assistant",
}  # fmt: skip
_TOOLS = ("tool", "function", "function_call", "observation", "ipython")
# Marks that say whether a turn is trained on, in the forms of OpenAI, axolotl and ShareGPT; all are, or the row is not.
_MARKS = ("weight", "train", "training", "loss", "train_detail", "mask", "masked")
_TRAINED = (None, True, 1, "1", "true", "True")


def check_marks(part: dict[str, Any], where: str) -> None:
    """Refuse a row or an answer that is marked in any way but "to be trained on in full".

    Raises:
        InputError: it names the mark.
    """
    for mark in _MARKS:
        masks = mark.startswith("mask")
        if mark in part and part[mark] not in ((None, False, 0) if masks else _TRAINED):
            raise InputError(
                f"{where} is marked {mark}: {part[mark]!r}, and every answer of a row is trained on in full; take the "
                "row or the mark out"
            )


def chat_example(row: dict[str, Any], where: str) -> Example:
    """A row with ``messages`` of ``role`` and ``content``, as OpenAI's.

    Raises:
        InputError: no such messages, or roles in another order.
    """
    return _example(_read(row["messages"], "role", "content", f"{where}: messages"), f"{where}: messages")


def sharegpt_example(row: dict[str, Any], where: str) -> Example:
    """A row with ``conversations`` of ``from`` and ``value``, as ShareGPT's.

    Raises:
        InputError: no such messages, or roles in another order.
    """
    where = f"{where}: conversations"
    return _example(_read(row["conversations"], "from", "value", where), where)


def _read(messages: Any, role: str, content: str, where: str) -> list[tuple[str, str]]:
    """(role, text) of every message."""
    if isinstance(messages, str) and messages.lstrip().startswith("["):  # a cell of a csv or parquet file
        with contextlib.suppress(ValueError):
            messages = json.loads(messages)
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{where}: expected a list of messages with {role!r} and {content!r}")
    return [_message(message, role, content, f"{where}: message {n}") for n, message in enumerate(messages, 1)]


def _message(message: Any, role: str, content: str, where: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise InputError(f"{where} is no object with {role!r} and {content!r}")
    # Either form's keys, as files of both kinds are mixed and renamed.
    role, content = (role, content) if role in message else _other_keys(message, role, content)
    found = message.get(role)
    kind = _ROLES.get(found.strip().lower()) if isinstance(found, str) else None
    if isinstance(found, str) and found.strip().lower() in _TOOLS:
        raise InputError(f"{where} is a tool's turn ({role} {found!r}), which is not trained on; take the row out")
    if kind is None:
        raise InputError(f"{where} has {role} {found!r}, expected one of {', '.join(_ROLES)}")
    if kind == "assistant":
        check_marks(message, where)
        if message.get("tool_calls") or message.get("function_call"):
            raise InputError(f"{where} has no text under {content!r} alone (it calls tools); take the row out")
    text = _text_of(message.get(content))
    if text is None:
        raise InputError(f"{where} has no text under {content!r}")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"{where} holds half a character (a lone surrogate)")
    return kind, text


def _other_keys(message: dict[str, Any], role: str, content: str) -> tuple[str, str]:
    other = ("from", "value") if role == "role" else ("role", "content")
    return other if other[0] in message else (role, content)


def _text_of(value: Any) -> str | None:
    """A text, or text parts joined; None for anything else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in value]
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None


def _example(messages: list[tuple[str, str]], where: str) -> Example:
    system = messages[0][1] if messages[0][0] == "system" else ""
    turns = messages[1:] if messages[0][0] == "system" else messages
    for number, (role, _) in enumerate(turns):
        expected = ("user", "assistant")[number % 2]
        if role != expected:
            place = number + 1 + len(messages) - len(turns)
            raise InputError(f"{where}: message {place} is of role {role}, expected {expected} (turns must alternate)")
    if not turns or len(turns) % 2:
        raise InputError(f"{where}: ends without an answer, expected an assistant message at the end")
    texts = [text for _, text in turns]
    pairs = tuple(zip(texts[::2], texts[1::2], strict=True))
    return Example(*pairs[-1], turns=pairs[:-1], system=system)
