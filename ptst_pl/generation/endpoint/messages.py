"""What is asked and what comes back: requests, replies, failures, and how a server's text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ptst_pl import InputError

_OURS = ("model", "messages", "prompt", "stream", "n")
MAX_MESSAGE = 300


@dataclass(frozen=True)
class Request:
    """One question: chat ``messages`` (role and content each), or a ``prompt`` for plain text completion.

    Attributes:
        sampling: ``temperature``, ``max_tokens`` and whatever else the server takes, sent as it is.
        need_text: whether an empty reply counts as a failed attempt; for a model under test it is an answer.

    Raises:
        InputError: not exactly one of messages and prompt, or a field in ``sampling`` that is not sampling.
    """

    messages: Sequence[Mapping[str, str]] | None = None
    prompt: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    need_text: bool = False

    def __post_init__(self) -> None:
        if (self.messages is None) == (self.prompt is None):
            raise InputError("endpoint: a request has either messages or a prompt")
        if wrong := [name for name in self.sampling if name in _OURS]:
            raise InputError(f"endpoint: {wrong[0]!r} is no sampling setting; it is set by the client")

    @property
    def path(self) -> str:
        """The route below the base URL."""
        return "/completions" if self.messages is None else "/chat/completions"

    def body(self, model: str) -> dict[str, Any]:
        """The JSON that is sent."""
        asked: dict[str, Any] = {"model": model, **self.sampling}
        if self.messages is None:
            return asked | {"prompt": well_formed(self.prompt or "")}
        return asked | {"messages": [{k: well_formed(v) for k, v in message.items()} for message in self.messages]}


@dataclass(frozen=True)
class Reply:
    """What the model said. ``model`` is the server's name for it, not always the one asked for."""

    text: str
    finish_reason: str = ""
    model: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why there is no reply, in one line without secrets; ``status`` is the last HTTP status, if any."""

    reason: str
    status: int | None = None
    attempts: int = 0


Outcome = Reply | Failure


class MalformedError(Exception):
    """A reply that is none; ``final`` where asking again gives the same."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def well_formed(text: str) -> str:
    """The text with lone surrogates replaced: they come out of tokenizers and JSON, and UTF-8 has none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_reply(body: str, request: Request) -> Reply:
    """Read the JSON of a chat or text completion.

    Raises:
        MalformedError: no JSON, no choices, no text, or empty text where the request needs some.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedError(f"the reply is no JSON: {one_line(body)!r}") from None
    try:
        choice = data["choices"][0]
        text = _text(choice, chat=request.messages is not None)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise MalformedError(f"the reply has no choices: {server_message(body)!r}") from None
    reason = _finish_reason(choice)
    if not isinstance(text, str) or (request.need_text and not text.strip()):
        if reason == "length":
            raise MalformedError("the model used up max_tokens before its first word of an answer; raise it", True)
        raise MalformedError(f"the reply has no text (finish_reason {reason!r})", final=reason == "content_filter")
    usage = data.get("usage")
    model = data.get("model")
    return Reply(
        well_formed(text), reason, model if isinstance(model, str) else "", usage if isinstance(usage, dict) else {}
    )


def _finish_reason(choice: dict[str, Any]) -> str:
    """The server's word; of a refusal in a field of its own, that it is whole; of thoughts alone, that they are."""
    message = choice.get("message") or {}
    if not _has_text(message.get("content")) and "text" not in choice:
        if _has_text(message.get("refusal")):
            return "stop"
        if _has_text(message.get("reasoning_content")) or _has_text(message.get("reasoning")):
            return "ended within the model's thoughts"
    return str(choice.get("finish_reason") or "")


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _text(choice: dict[str, Any], chat: bool) -> Any:
    if not chat:
        return choice["text"]
    message = choice["message"]
    # OpenAI moves some refusals into a field of their own and leaves the content null.
    if not _has_text(message.get("content")) and _has_text(message.get("refusal")):
        return message["refusal"]
    if message.get("content") is None and _has_text(message.get("reasoning_content") or message.get("reasoning")):
        return ""
    return message.get("content")


def server_message(body: str) -> str:
    """The message in an error body of OpenAI's form, of FastAPI's (``detail``), or the text itself."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return one_line(body)
    found = data
    for key in ("error", "message", "detail", "msg"):
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict) and key in found:
            found = found[key]
    return one_line(found if isinstance(found, str) else json.dumps(found))


def error_code(body: str) -> str:
    """The ``code`` in an error body of OpenAI's form, or an empty string."""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def one_line(text: str) -> str:
    """White space collapsed, cut at ``MAX_MESSAGE`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 3] + "..."
