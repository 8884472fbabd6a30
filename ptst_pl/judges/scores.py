"""Reading a score from 1 to 5 out of a judge's reply, and taking such forms out of the text that it judges.

A score is a number with a label and a separator (``Score: 5``, ``#thescore: 5``, ``<score>5</score>``,
``"score": 5``), a line that says nothing else (``The score is 5.``), or a bare number as the last line
(``5``, ``5.``, ``**5**``, ``5/5``). The last one counts. A sentence about scores ("a score of 5 would
need ...") is none, nor is a scale ("1-5"), and a number off the scale is never traded for an earlier one.
"""

from __future__ import annotations

import re

from ptst_pl.templates.thoughts import broken_marks, without_thoughts

_MARK = r"[\s*_`\"'\[({]"
_INLINE = r"[^\S\n]|[*_`\"'\[({<]"
_NUMBER = r"(?P<{0}>[-+]?[0-9]+(?:[.,][0-9]+)*)"
_OF_5 = r"(?P<{0}>\s*(?:/|out of)\s*[0-9]+(?:[.,][0-9]+)*)?"
_CLOSE = r"[^\S\n]*[*_`\"'\])}.!,;]*"
# As a tag alone, "answer" is a label too: an "Answer: 5" quotes.
_LABEL = r"(?:(?<![a-z])(?:the)?(?:score|rating)(?![a-z])|<(?:final[_ ]?)?answer(?=>))"
_SCALE = r"(?:[*_\s]*\([^()\n]*\))?"

_FORMS = re.compile(
    # With a separator: anywhere; over a line break only where the number has its line to itself.
    rf"{_LABEL}{_SCALE}[*_`\"'\s\])]*(?:[:：=>]|->|[-–—](?=\s))"
    rf"(?:(?:{_INLINE})*|{_MARK}{{0,20}}\n{_MARK}{{0,20}}(?=[0-9]+(?:/[0-9]+)?{_CLOSE}[^\S\n]*$))"
    + _NUMBER.format("labelled")
    + _OF_5.format("of1")
    # Without: a line of its own.
    + rf"|^(?:[^\S\n]|[*_#`\"'])*(?:(?:the|my|final|overall)\s+)*{_LABEL}(?:\s+(?:is|of))?\s+[*_`\"'\[(]*"
    + _NUMBER.format("line")
    + _OF_5.format("of2")
    + rf"(?={_CLOSE}[^\S\n]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_BARE = re.compile(rf"^[\s*_#`\"'\[(]*{_NUMBER.format('bare')}{_OF_5.format('of3')}{_CLOSE}\s*$", re.IGNORECASE)
# What follows the number of a scale: "1-5", "1 to 5", "1, 2 or 3".
_SCALE_FOLLOWS = re.compile(r"[^\S\n]*(?:[-–—~]|to\b|through\b|,|or\b|and\b)[^\S\n]*[0-9]", re.IGNORECASE)
_UNSEEN = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD))
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def parse_score(reply: str) -> int | None:
    """The last score of a reply, 1 to 5, or None where there is none that can be trusted."""
    text = (without_thoughts(reply.translate(_UNSEEN)) or "").strip()
    if bare := _BARE.match(text.rsplit("\n", 1)[-1]):
        return _value(bare["bare"], bare["of3"], "")
    for found in reversed(list(_FORMS.finditer(text))):
        after = text[found.end() :]
        number, of = found["labelled"] or found["line"], found["of1"] or found["of2"]
        if of or not _SCALE_FOLLOWS.match(after):
            return _value(number, of, after)
        if number not in ("0", "1"):
            return None
    return None


def _value(number: str, of: str | None, after: str) -> int | None:
    on_scale = re.fullmatch(r"([1-5])(?:\.0)?", number)
    wrong_scale = of is not None and re.sub(r"[^0-9.,]", "", of) != "5"
    # "5%", "5x", "5/" and "5th" are no scores.
    if not on_scale or wrong_scale or re.match(r"[\w%/]", after):
        return None
    return int(on_scale[1])


def neutralise(text: str) -> str:
    """The text with digits spelt out wherever they would be read as a score, and with thought tags broken.

    A judge that quotes the result places no score: ``parse_score(neutralise(text))`` is None.
    """
    text = broken_marks(text.translate(_UNSEEN))
    text = _FORMS.sub(lambda found: _spelt(found[0]), text)
    return "\n".join(_spelt(line) if _BARE.match(line) else line for line in text.split("\n"))


def _spelt(text: str) -> str:
    return re.sub(r"[0-9]+", lambda digits: " ".join(_DIGITS[int(d)] for d in digits[0]), text)
