"""What a tokenizer's own chat template does not settle by itself, for people to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ChatOptions:
    """How prompts are made beside the chat format; a part of what a run is.

    Attributes:
        special_tokens: a special token's text inside a question (``</s>``, ``<|user|>``) is plain ``text``, or is
            read as the token, as common servers do (``served``).
        thinking: where the chat template opens a block of thoughts at the prompt's end and leaves it out of whole
            conversations, the block is ``closed`` at once and belongs to the prompt, or left ``open``: the prompt ends
            as the model's own does, and an answer to be trained on closes the block first, unless it brings thoughts
            of its own. A chat template that closes the block in its conversations is taken at its word.
        preamble: a fixed text of the chat template's own before every conversation, which cannot be switched off,
            is ``refused``, or ``kept`` and taken for no system prompt.
    """

    special_tokens: Literal["text", "served"] = "text"
    thinking: Literal["closed", "open"] = "closed"
    preamble: Literal["refused", "kept"] = "refused"

    def record(self) -> dict[str, str]:
        """For results and checkpoints."""
        return asdict(self)


def known_options(stored: Mapping[str, Any] | None) -> ChatOptions:
    """The options in a config or record; the usual ones where an older version wrote none."""
    names = ChatOptions().record()
    return ChatOptions(**{name: value for name, value in (stored or {}).items() if name in names})
