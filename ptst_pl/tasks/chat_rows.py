"""Chat rows: a list of messages, which must be (system,) user, assistant, user, assistant, ..."""

from __future__ import annotations

import contextlib
import json
from typing import Any, NamedTuple

from ptst_pl import InputError
from ptst_pl.tokenization import Example

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant", "bing": "assistant", "model": "assistant",
}  # fmt: skip
_TOOLS = ("tool", "function", "function_call", "observation", "ipython")
# Marks that say whether a turn is trained on, in the forms of OpenAI, axolotl and ShareGPT.
_MARKS = ("weight", "train", "training", "loss", "train_detail", "mask", "masked")
_YES, _NO = (None, True, 1, "1", "true", "True"), (False, 0, "0", "false", "False")


def is_left_out(part: dict[str, Any], where: str) -> bool:
    """Whether an answer's marks say that it is not trained on.

    Raises:
        InputError: a mark that says neither that nor "in full", such as a weight of a half.
    """
    left_out = False
    for mark in _MARKS:
        trained, untrained = (_NO, _YES[1:]) if mark.startswith("mask") else (_YES, _NO)
        value = part.get(mark)
        if value in untrained and value is not None:
            left_out = True
        elif value is not None and value not in trained:
            raise InputError(
                f"{where} is marked {mark}: {value!r}, and an answer is trained on in full or not at all; take the "
                "row or the mark out"
            )
    return left_out


def check_marks(row: dict[str, Any], where: str) -> None:
    """Refuse a row that is marked as a whole as not to be trained on.

    Raises:
        InputError: it names the mark.
    """
    if is_left_out(row, where):
        told = ", ".join(f"{mark}: {row[mark]!r}" for mark in _MARKS if row.get(mark) is not None)
        raise InputError(f"{where} is marked {told}, so it is not to be trained on; take the row out")


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


class _Message(NamedTuple):
    role: str
    text: str
    left_out: bool


def _read(messages: Any, role: str, content: str, where: str) -> list[_Message]:
    """Every message."""
    if isinstance(messages, str) and messages.lstrip().startswith("["):  # a cell of a csv or parquet file
        with contextlib.suppress(ValueError):
            messages = json.loads(messages)
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{where}: expected a list of messages with {role!r} and {content!r}")
    return [_message(message, role, content, f"{where}: message {n}") for n, message in enumerate(messages, 1)]


def _message(message: Any, role: str, content: str, where: str) -> _Message:
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
    if kind == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        raise InputError(f"{where} has no text under {content!r} alone (it calls tools); take the row out")
    text = _text_of(message.get(content))
    if text is None:
        raise InputError(f"{where} has no text under {content!r}")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"{where} holds half a character (a lone surrogate)")
    return _Message(kind, text, kind == "assistant" and is_left_out(message, where))


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


def _example(messages: list[_Message], where: str) -> Example:
    system = messages[0].text if messages[0].role == "system" else ""
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, turn in enumerate(turns):
        expected = ("user", "assistant")[number % 2]
        if turn.role != expected:
            place = number + 1 + len(messages) - len(turns)
            raise InputError(
                f"{where}: message {place} is of role {turn.role}, expected {expected} (turns must alternate)"
            )
    if not turns or len(turns) % 2:
        raise InputError(f"{where}: ends without an answer, expected an assistant message at the end")
    pairs = tuple((user.text, answer.text) for user, answer in zip(turns[::2], turns[1::2], strict=True))
    left_out = frozenset(number for number, answer in enumerate(turns[1::2]) if answer.left_out)
    if len(left_out) == len(pairs):
        raise InputError(f"{where}: every answer is marked as not to be trained on; take the row out")
    return Example(*pairs[-1], turns=pairs[:-1], system=system, left_out=left_out)
