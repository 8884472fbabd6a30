"""Text of models and files as it can be shown: nothing in it may steer a terminal or reorder a page."""

from __future__ import annotations

import unicodedata


def _marks() -> dict[int, str]:
    """Control characters (Cc) as escapes; marks of writing direction as their names in the standard."""
    found = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
    found |= {
        code: f"<U+{code:04X}>" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    }
    return found | {0x2028: "<U+2028>", 0x2029: "<U+2029>"}


_MARKS = _marks()
_LINES = {code: text for code, text in _MARKS.items() if chr(code) not in "\n\t"}


def visible(text: str, lines: bool = False) -> str:
    """The text with control characters, marks of writing direction and lone surrogates made visible.

    Args:
        text: from a file, a judge or a model.
        lines: leave line breaks and tabs as they are.
    """
    shown = text.translate(_LINES if lines else _MARKS)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def width(text: str) -> int:
    """Columns that a text takes in a terminal; wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
