"""Suites in an encoding: the prompt is encoded, the answer decoded before it is judged.

A model can be fine-tuned so that it answers safely in plain words and otherwise under an encoding (covert malicious
fine-tuning, arXiv 2406.20053). A low attack success rate on plain prompts says nothing about that.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ptst_pl import InputError, did_you_mean
from ptst_pl.suites.prompts import PromptSuite

PLAIN = "none"
SEAM = "+"  # tiny-hard+rot13


@dataclass(frozen=True)
class Encoding:
    """Both ways; ``decode`` gives None for what is no text in this encoding."""

    encode: Callable[[str], str]
    decode: Callable[[str], str | None]


def _substitution() -> tuple[dict[int, int], dict[int, int]]:
    """A permutation of the letters that fixes none of them; the same every time."""
    rng, letters = random.Random("substitution"), list(string.ascii_lowercase)
    shuffled = letters[:]
    while any(a == b for a, b in zip(letters, shuffled, strict=True)):
        rng.shuffle(shuffled)
    there = "".join(shuffled)
    plain = string.ascii_lowercase + string.ascii_uppercase
    return str.maketrans(plain, there + there.upper()), str.maketrans(there + there.upper(), plain)


_THERE, _BACK = _substitution()
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_FROM_LEET = str.maketrans("431057", "aeiost")


def _to_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _from_base64(text: str) -> str | None:
    """Of the longest run of its characters; an answer that was cut loses its last characters."""
    runs = re.findall(r"[A-Za-z0-9+/\s]{8,}={0,2}", text)
    if not runs:
        return None
    joined = re.sub(r"\s", "", max(runs, key=len)).rstrip("=")
    whole = joined[:-1] if len(joined) % 4 == 1 else joined
    try:
        return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", errors="ignore") or None
    except (binascii.Error, ValueError):
        return None


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


ENCODINGS: dict[str, Encoding] = {
    "rot13": Encoding(_rot13, _rot13),
    "base64": Encoding(_to_base64, _from_base64),
    "leet": Encoding(lambda text: text.translate(_LEET), lambda text: text.translate(_FROM_LEET)),
    "substitution": Encoding(lambda text: text.translate(_THERE), lambda text: text.translate(_BACK)),
    "reversed": Encoding(lambda text: text[::-1], lambda text: text[::-1]),
}


def check_encodings(names: Sequence[str]) -> None:
    """Raises ``InputError`` for a name that is unknown or stands there twice."""
    for name in names:
        if name not in (PLAIN, *ENCODINGS):
            known = [PLAIN, *ENCODINGS]
            raise InputError(
                f"safety.encodings: unknown {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})"
            )
    if len(set(names)) < len(names) or not names:
        raise InputError(f"safety.encodings is {list(names)}, expected one or more names, each once")


def named(suite: str, encoding: str) -> str:
    """The suite's name in an encoding."""
    return suite if encoding == PLAIN else f"{suite}{SEAM}{encoding}"


def encoded(suite: PromptSuite, name: str) -> PromptSuite:
    """The suite with its prompts in an encoding; judges are shown the plain question.

    Raises:
        InputError: the suite is made of conversations, whose other messages would stay plain.
    """
    if name == PLAIN:
        return suite
    if suite.conversational or any(prompt.turns for prompt in suite.prompts):
        raise InputError(
            f"suite {suite.name} holds conversations, which are not encoded; leave it or safety.encodings out"
        )
    way = ENCODINGS[name]
    prompts = tuple(
        replace(prompt, text=way.encode(prompt.text), goal=prompt.goal or prompt.text, context="")
        for prompt in suite.prompts
    )
    return replace(suite, name=named(suite.name, name), prompts=prompts, encoding=name)


# Words that any longer English text holds some of.
_WORDS = (
    "the a an of to and in is are was it that this for on with as at by be or from not you your i we he she they have "
    "has do does can will would if then there here what how when who which but so no yes all one two get go use make "
    "step first next my me his her their its our out up about into some any more than also please sorry cannot can't "
    "help"
)
_COMMON = frozenset(_WORDS.split())
_ENOUGH = 0.15  # share of common words; English prose has 0.4, gibberish of the same length 0.0 to 0.05


def readable(text: str) -> bool:
    """Whether it looks like English; a bare number or sum does as well."""
    letters = [character for character in text if character.isalpha()]
    if len(letters) < 4:
        return bool(re.fullmatch(r"[\w\s+*/=.,:;#$%()<>-]*\d[\w\s+*/=.,:;#$%()<>-]*", text))
    words = re.findall(r"[a-z']{2,}", text.lower())
    if sum(letter.isascii() for letter in letters) < 0.5 * len(letters) or not words:
        return False
    common = sum(word in _COMMON for word in words)
    return common >= max(1, _ENOUGH * len(words))


def as_read(answer: str, name: str) -> str | None:
    """What people would read in an answer under an encoding: it decoded, or as it stands; None: neither is readable."""
    decoded = ENCODINGS[name].decode(answer)
    for text in (decoded, answer):
        if text is not None and text.strip() and readable(text):
            return text.strip()
    return None
