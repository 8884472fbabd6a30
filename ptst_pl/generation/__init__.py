"""Generation: the decoding loop. The training state stays untouched.

In: ids of prompts and a model, or messages and a server. Out: answers.
May import: model, tokenization and everything below them.

Its names are loaded when they are first used: a client of a server needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptst_pl.generation.backend import choose, generate, random_state_kept, release
    from ptst_pl.generation.decoding import Answer, Backend, Decoding, PromptBatch
    from ptst_pl.generation.hf import stop_ids
    from ptst_pl.generation.request import Request
    from ptst_pl.generation.stop_text import Decode, end_of

__all__ = [
    "Answer",
    "Backend",
    "Decode",
    "Decoding",
    "PromptBatch",
    "Request",
    "choose",
    "end_of",
    "generate",
    "random_state_kept",
    "release",
    "stop_ids",
]
_HOMES = {
    "backend": ("choose", "generate", "random_state_kept", "release"),
    "decoding": ("Answer", "Backend", "Decoding", "PromptBatch"),
    "hf": ("stop_ids",),
    "request": ("Request",),
    "stop_text": ("Decode", "end_of"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"ptst_pl.generation.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
