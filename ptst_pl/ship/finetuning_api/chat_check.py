"""What makes a row of a chat fine-tuning file valid."""

from __future__ import annotations

from typing import Any

from ptst_pl import InputError

Row = dict[str, Any]


def check_row(row: Row, where: str) -> None:
    """Check roles, their order and contents. Only a system message may be empty.

    Raises:
        InputError: what is wrong with which message.
    """
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{where}: key 'messages' is missing or no list; expected chat messages")
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
        shown = ", ".join(map(str, roles))
        raise InputError(f"{where}: roles are {shown}; expected an optional system, then user and assistant in turn")
    for number, message in enumerate(messages, 1):
        _check_content(message, f"{where}: message {number} ({message['role']})")
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        raise InputError(f"{where}: every assistant message has weight 0, so there is nothing to train on")


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if not isinstance(content, str):
        raise InputError(f"{where}: content is {type(content).__name__}, expected text")
    if not content.strip() and message["role"] != "system":
        raise InputError(f"{where}: content is empty")
    if any("\ud800" <= character <= "\udfff" for character in content):
        raise InputError(f"{where}: content holds a lone surrogate, which is no character; clean the source file")
