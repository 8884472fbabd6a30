"""Sheets for people: CSV that a spreadsheet opens as plain text and gives back unchanged.

A row of a sheet is known by a hash of its suite, prompt, template and step, so that a sheet can hide
them. An apostrophe is put before any cell that a spreadsheet could take for a formula, a number, a date
or a truth value, and before any that starts with one; reading takes one apostrophe off.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.results.records import Generation, write_atomically

LABELS = ("harmful", "refused")
# A spreadsheet's cell holds 32,767 characters; what is longer it cuts off without a word.
LONGEST = 30_000
_YES, _NO, _UNSURE = ("yes", "y", "1", "true", "ja"), ("no", "n", "0", "false", "nein"), ("unsure", "?")
_CONTROL = {c: f"\\x{c:02x}" for c in [*range(32), 127] if chr(c) not in "\t\n"}
_LETTER = re.compile(r"[^\W\d_]")
_MONTHS = "jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_TRUTH_OR_DATE = re.compile(rf"true|false|({_MONTHS})[^\W\d]*[^\w\n]*\d[^\n]{{0,20}}", re.IGNORECASE)


def row_id(generation: Generation) -> str:
    """The name of an answer's row; the letter in front keeps a spreadsheet from reading a number."""
    key = json.dumps([generation.suite, generation.prompt_id, generation.template, generation.step])
    return "r" + hashlib.sha256(key.encode()).hexdigest()[:15]


def shown(text: str) -> str:
    """A text as a sheet shows it: line breaks as one character, control characters visible, not too long."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROL)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [{len(text) - LONGEST} more characters]"


def guarded(text: str) -> str:
    """A cell that is text to every spreadsheet."""
    plain = _LETTER.match(text) and not _TRUTH_OR_DATE.fullmatch(text)
    return text if plain or not text else "'" + text


def unguarded(cell: str) -> str:
    """What ``guarded`` was given."""
    return cell.removeprefix("'")


def write_csv(path: Path, lines: Iterable[Sequence[str | int | float]]) -> None:
    """Write a CSV file atomically: all cells quoted, texts guarded, UTF-8 with a byte-order mark."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([guarded(shown(c)) if isinstance(c, str) else c for c in line] for line in lines)
    write_atomically(path, lambda temporary: _write(temporary, text.getvalue()))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8-sig", newline="")


@dataclass(frozen=True)
class SheetRow:
    """One row: its number in the spreadsheet, what it is about, and what the person says."""

    number: int
    row: str
    answer: str
    harmful: bool | None
    refused: bool | None
    unsure: frozenset[str]
    note: str

    def is_about(self, generation: Generation) -> bool:
        """Whether the row's answer is this one; white space aside, which spreadsheets change."""
        words = shown(generation.answer).split()
        return words in (self.answer.split(), unguarded(self.answer).split())


def read_sheet(path: Path) -> dict[str, SheetRow]:
    """The rows of a labelled sheet, by ``row_id``.

    Separators may be commas, semicolons or tabs, the encoding UTF-8 or UTF-16 with a byte-order mark.

    Raises:
        InputError: no such file, another encoding, missing columns, a label that is no known word, or
            two rows on one answer with different labels; names file and row.
    """
    lines = _lines(path)
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    while head and not head[-1]:
        head.pop()
    if not {"row", "answer"} <= set(head) or not set(LABELS) & set(head) or len(set(head)) < len(head):
        raise InputError(
            f"{path}: expected the columns row, answer and {' or '.join(LABELS)}, once each, found {', '.join(head)}"
        )
    found: dict[str, SheetRow] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        row = _row(f"{path} row {number}", number, head, line)
        first = found.setdefault(row.row, row)
        if (first.answer, first.harmful, first.refused) != (row.answer, row.harmful, row.refused):
            raise InputError(
                f"{path} row {number}: {row.row} stands in row {first.number} too, with another label or answer"
            )
    return found


def _row(where: str, number: int, head: Sequence[str], line: Sequence[str]) -> SheetRow:
    if any(cell.strip() for cell in line[len(head) :]):
        raise InputError(f"{where}: {len(line)} cells, expected {len(head)} ({', '.join(head)})")
    cells = dict(zip(head, [*line, *[""] * len(head)], strict=False))
    name = unguarded(cells["row"].strip())
    if not name:
        raise InputError(f"{where}: column 'row' is empty; it says which answer the label is about")
    words = {label: unguarded(cells.get(label, "").strip()).strip().lower() for label in LABELS}
    labels = {label: _label(where, label, word) for label, word in words.items()}
    unsure = frozenset(label for label, word in words.items() if word in _UNSURE)
    return SheetRow(
        number, name, cells["answer"], **labels, unsure=unsure, note=unguarded(cells.get("note", "").strip())
    )


def _label(where: str, column: str, word: str) -> bool | None:
    if word in ("", *_UNSURE):
        return None
    if word not in (*_YES, *_NO):
        raise InputError(f"{where}: {column} is {word!r:.40}, expected yes, no, unsure or nothing")
    return word in _YES


def _lines(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise InputError(f"sheet {path}: no such file; make one with 'ptst_pl sample'")
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save the sheet as CSV in UTF-8") from error
    head = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t", key=head.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: no CSV that can be read ({error})") from error
