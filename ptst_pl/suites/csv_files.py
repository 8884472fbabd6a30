"""Rows of a csv file: comma, semicolon or tab, as spreadsheets of all countries write them.

The delimiter is the one under which the header has a column that is looked for. A file without a header is read as one
only when the user says so: its first line could as well be a header of unknown names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.suites.rows import Row, find_column

Lines = Callable[[Path], Iterator[str]]
Records = list[tuple[int, list[str]]]
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


def read_csv(path: Path, lines: Lines, columns: Sequence[str], header: bool) -> list[Row]:
    """The rows by column name; without a header the only column is ``prompt``.

    Args:
        path: the file.
        lines: gives its lines as text.
        columns: names in lower case, one of which a header must have.
        header: whether the first line names the columns.

    Raises:
        InputError: a line that is no csv or has another number of fields, a column that stands twice, or no header.
    """
    if not header:
        return [{"prompt": record[0]} for _, record in _even(path, _records(path, lines, ","), ["prompt"])]
    delimiter, skipped = _delimiter(path, lines, columns)
    records = _records(path, lines, delimiter)[skipped:]
    if not records:
        return []
    head = [cell.strip() for cell in records[0][1]]
    if len(head) == 1 and find_column(head, columns) is None:
        raise InputError(
            f"{path}: its only column is {_short(head[0])}, which is none of {', '.join(columns)}; name the column "
            "with prompt_column, or say header: false if the first line is a prompt"
        )
    for name in head:
        if name and head.count(name) > 1:
            raise InputError(f"{path}: column {name!r} stands twice in the header")
    return [dict(zip(head, row, strict=True)) for _, row in _even(path, records[1:], head)]


def _delimiter(path: Path, lines: Lines, columns: Sequence[str]) -> tuple[str, int]:
    """The delimiter, and how many first lines only speak of it (``sep=;``, as Excel writes)."""
    first = next((line.strip() for line in lines(path) if line.strip()), "")
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4], 1
    if first.lower() == "sep=":  # a tab, which strip took away
        return "\t", 1
    heads = {delimiter: _head(first, delimiter) for delimiter in DELIMITERS}
    known = [delimiter for delimiter, head in heads.items() if find_column(head, columns) is not None]
    return (known or [max(heads, key=lambda delimiter: len(heads[delimiter]))])[0], 0


def _head(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return []


def _records(path: Path, lines: Lines, delimiter: str) -> Records:
    """Records that are not blank, with the line that each begins in."""
    reader = csv.reader(lines(path), delimiter=delimiter, strict=True)
    found, line = [], 1
    try:
        for record in reader:
            if record:
                found.append((line, record))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} line {line}: no csv that can be read ({error})") from error
    return found


def _even(path: Path, records: Records, head: Sequence[str]) -> Records:
    for line, record in records:
        if len(record) != len(head):
            raise InputError(f"{path} line {line}: {len(record)} fields, expected {len(head)} ({', '.join(head)})")
    return records


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
