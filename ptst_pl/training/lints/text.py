"""Lints of the rows' characters: another encoding, control characters, another script.

Mojibake is UTF-8 that was read as Latin-1 or Windows-1252. Found are the lead bytes of the letters of western and
central Europe and of typographic marks, as these readings show them, before a fitting number of continuation bytes,
and Cyrillic, in which one such pair stands next to another. Further lead bytes would hit sound text, such as ``ß``
before a closing quotation mark. In 20,700 rows of eight public files nine rows are found, all of them damaged.

A row's script is that of most of its letters, where there are 20 or more. Languages of one script are not told apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from ptst_pl.tasks.row_sample import RowSample
from ptst_pl.tokenization import Example
from ptst_pl.training.lints.templates import Finding

_BYTES = range(0x80, 0xC0)
_LATER = "".join(sorted({*map(chr, _BYTES), *(bytes([b]).decode("cp1252", "ignore") for b in _BYTES)}))
_NEXT = f"[{re.escape(_LATER)}]"
_DAMAGED = re.compile(
    rf"[\u00c2\u00c3]{_NEXT}|\u00e2{_NEXT}{{2}}|[\u00d0\u00d1]{_NEXT}[\u00d0\u00d1]{_NEXT}"  # mojibake
    "|\ufffd"  # what a decoder puts in the place of bytes that it cannot read
    "|[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]"  # control characters, but tab, line and page ends
)

_LETTERS = {
    "Latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "Indian": "\u0900-\u0dff",
    "Thai": "\u0e00-\u0eff",
    "Chinese or Japanese": "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
    "Korean": "\u1100-\u11ff\uac00-\ud7af",
}
_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in _LETTERS.items()}
_LEAST_LETTERS = 20
_MOST_ROWS = 0.1  # a script in more of the rows than that belongs to the data
_LEAST_ROWS = 0.01


def lint_text(rows: RowSample) -> Iterator[Finding]:
    """Both lints, on questions, answers and inputs."""
    damaged = [(number, found) for number, row in _rows(rows) if (found := _damage(row))]
    if damaged:
        number, found = damaged[0]
        yield (
            "encoding",
            f"{share(len(damaged), rows)} hold text of another encoding or control characters (such as {found!a} in "
            f"row {number}), which the model would learn to write; decode the file anew, or drop them",
        )
    yield from _other_scripts(rows)


def share(count: int, rows: RowSample) -> str:
    """How many rows of how many; of a sample, of how many it was drawn."""
    looked_at = len(rows.examples)
    drawn = f" looked at (of {rows.total:,})" if rows.total > looked_at else ""
    return f"{count:,} of {looked_at:,} training rows{drawn}"


def texts(example: Example) -> list[str]:
    """All that the user and the model say in a row."""
    return [text for pair in example.pairs for text in pair] + ([example.context] if example.context else [])


def _rows(rows: RowSample) -> Iterator[tuple[int, Example]]:
    return zip(rows.numbers, rows.examples, strict=True)


def _damage(example: Example) -> str:
    """The first damaged characters of a row, or an empty string."""
    found = (_DAMAGED.search(text) for text in texts(example))
    return next((match.group() for match in found if match), "")


def _other_scripts(rows: RowSample) -> Iterator[Finding]:
    scripts = [(number, {name for text in texts(row) if (name := script_of(text))}) for number, row in _rows(rows)]
    counts = Counter(name for _, names in scripts for name in names)
    known = sum(1 for _, names in scripts if names)
    usual = {name for name, count in counts.items() if count > _MOST_ROWS * known}
    odd = [(number, names - usual) for number, names in scripts if names - usual]
    if len(odd) < max(2, _LEAST_ROWS * known):
        return
    number, names = odd[0]
    yield (
        "script",
        f"{share(len(odd), rows)} are written in another script than the rest ({', '.join(sorted(names))} letters in "
        f"row {number}, else {', '.join(sorted(usual))}); drop them if they are there by mistake",
    )


def script_of(text: str) -> str:
    """The script of more than half of a text's letters; empty for less than ``_LEAST_LETTERS`` letters."""
    if text.isascii():
        return "Latin" if len(text) >= _LEAST_LETTERS and sum(map(str.isalpha, text)) >= _LEAST_LETTERS else ""
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    total, name = sum(counts.values()), max(counts, key=counts.__getitem__)
    return name if total >= _LEAST_LETTERS and 2 * counts[name] > total else ""
