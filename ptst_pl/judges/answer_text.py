"""An answer as the string rules read it: one spelling, no markup, cut into sentences."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u2032\uff07\u00b4`"), "'")
_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u00ab\u00bb"), '"')

# Reasoning models think aloud first; what they tell the user comes after it.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
# What a tokenizer's special tokens leave at an answer's start: "[/s]", "<s> [OUT]".
_DEBRIS = re.compile(r"\A(?:\s*(?:<\|?/?\w{1,12}\|?>|\[/?(?:s|inst|out|ass|assistant|user)[\]>]))+\s*")
_ITEM = re.compile(r"^[ >]*(?:\d{1,2}[.)]|[-*+\u2022\u2013])[ ]", re.MULTILINE)
_MARKUP = re.compile(r"[*_~#>|\\]+")
_END = re.compile(r"(?<=[.!?])[\"')\]]{0,3}\s+|\n+")
_NO_APOSTROPHE = re.compile(r"\b(can|don|won|isn|doesn|didn|couldn|wouldn|shouldn)t\b")
_WORD = re.compile(r"[^\W\d_]")

ITEM = "\u2022 "
"""How a sentence starts that is an item of a list, numbered or not."""

LONGEST_SENTENCE = 600
"""Characters of a sentence that the rules look at; text without full stops is cut here."""


def normalise(text: str) -> str:
    """NFKC, straight apostrophes, lower case, single spaces; line breaks are kept.

    A curly apostrophe or a full-width letter must not hide a refusal. Applied twice it changes
    nothing more.
    """
    if not text.isascii():
        text = _one_spelling(text).lower()
        if not unicodedata.is_normalized("NFKC", text):  # lower case of a few letters
            text = _one_spelling(text)
    text = text.replace("`", "'").lower()
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _one_spelling(text: str) -> str:
    # Characters that show nothing: zero-width space, soft hyphen, byte order mark.
    unseen = dict.fromkeys(ord(char) for char in set(text) if unicodedata.category(char) == "Cf")
    spelling = unseen | _APOSTROPHES
    return unicodedata.normalize("NFKC", text.translate(spelling)).translate(spelling)


def sentences(text: str) -> list[str]:
    """The sentences of an answer, normalised, without markup; items of a list start with ``ITEM``."""
    text = _DEBRIS.sub("", _THOUGHT.sub("", normalise(text))).translate(_QUOTES)
    text = _NO_APOSTROPHE.sub(r"\1't", _MARKUP.sub("", _ITEM.sub(ITEM, text)))
    parts = (part.strip(" \"'([") for part in _END.split(text))
    return [part[:LONGEST_SENTENCE] for part in parts if _WORD.search(part)]


def any_of(*rules: str) -> re.Pattern[str]:
    """One pattern that matches where any of the rules does."""
    return re.compile("|".join(f"(?:{rule})" for rule in rules))
