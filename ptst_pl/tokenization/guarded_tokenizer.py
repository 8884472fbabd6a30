"""A tokenizer that tells a template's special tokens from the same text in a person's words."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.tokenization.chat_template import special_texts

# Added tokens that steer a conversation although their files do not mark them as special.
_STEERS = re.compile(r"<\|[^<>]*\|>|<｜[^<>]*｜>|</?s>|\[/?INST\]|\[/?THINK\]|</?think>|</?tool_[a-z]+>")


def steering_texts(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Texts that a person's words may not turn into tokens: special ones, and added ones that steer a conversation.

    The latter are those that the chat template writes, or that have the form of a mark. Runs of white space and the
    tags of HTML, which some tokenizers add, stay what they are.
    """
    source = str(tokenizer.chat_template or "")
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.special]
    marked = {text for text in added if _STEERS.fullmatch(text)}
    written = {text for text in added if len(text.strip()) > 2 and not text.isalnum() and text in source}
    return {*special_texts(tokenizer), *marked, *written}


def pattern_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches each of the texts, the longest first; nothing where there is none."""
    longest = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) if longest else r"(?!)")


def guarded(tokenizer: PreTrainedTokenizerBase) -> GuardedTokenizer:
    """The guarded copy of a tokenizer, made once: copying a large vocabulary takes a second.

    Raises:
        InputError: see ``GuardedTokenizer``.
    """
    state = frozenset(steering_texts(tokenizer))
    made = _MADE.get(tokenizer)
    if made is None or made[0] != state:
        _MADE[tokenizer] = made = (state, GuardedTokenizer(tokenizer))
    return made[1]


class GuardedTokenizer:
    """A copy of a fast tokenizer in which special tokens go by names that nobody can write.

    The whole prompt is tokenised in one go, so that what a special token does to the text beside it (strip white
    space, begin a word) stays as it is; only text under the secret names becomes a special token.

    Args:
        tokenizer: a fast tokenizer.

    Raises:
        InputError: the tokenizer is a slow one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(
                "a question holds the text of a special token, and this tokenizer (no fast one) cannot keep it text; "
                "set chat_options.special_tokens: served, or leave the question out"
            )
        texts = steering_texts(tokenizer)
        content = json.loads(backend.to_str())
        flags: dict[str, dict[str, Any]] = {entry["content"]: entry for entry in content["added_tokens"]}
        for text in texts & flags.keys():
            flags[text]["special"] = True  # so that ``encode_special_tokens`` leaves it text
        self._copy: Any = Tokenizer.from_str(json.dumps(content))
        self._copy.no_truncation()
        self._copy.no_padding()
        self._copy.encode_special_tokens = True
        secret = secrets.token_hex(8)
        known = sorted(texts & flags.keys())
        self._names = {text: f"\ue000{secret}{number}\ue001" for number, text in enumerate(known)}
        kept = ("lstrip", "rstrip", "single_word", "normalized")
        self._copy.add_tokens(
            [
                AddedToken(name, special=False, **{flag: flags[text][flag] for flag in kept})
                for text, name in self._names.items()
            ]
        )
        self._ids = {self._copy.token_to_id(name): flags[text]["id"] for text, name in self._names.items()}
        self._all = pattern_of(self._names)

    def ids(self, pieces: Sequence[tuple[str, re.Pattern[str] | None]]) -> list[int]:
        """Ids of a text in pieces.

        Args:
            pieces: each a text and which of the special texts in it are tokens; None: all of them.
        """
        text = "".join(self._named(piece, tokens) for piece, tokens in pieces)
        return [self._ids.get(i, i) for i in self._copy.encode(text, add_special_tokens=False).ids]

    def _named(self, piece: str, tokens: re.Pattern[str] | None) -> str:
        return (self._all if tokens is None else tokens).sub(lambda found: self._names.get(found[0], found[0]), piece)


_MADE: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[frozenset[str], GuardedTokenizer]] = WeakKeyDictionary()
