"""Rows of a local file in any form that people bring: jsonl, json, csv, tsv or parquet, plain or compressed.

Values come as they are written: nothing guesses a type, so that the answer ``007`` of a csv file stays text. (The
``datasets`` readers infer one type a column and fill missing keys with None, which loses both.)
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.suites.csv_files import DELIMITERS
from ptst_pl.suites.file_kind import check_kind
from ptst_pl.tasks.rows import Row, read_parquet

_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# A file that is one object with the rows under one of these.
_WRAPPERS = ("data", "rows", "train", "examples", "instances", "items")


def read_row_file(file: str) -> Iterator[tuple[str, Row]]:
    """Every row with where it stands, such as ``rows.csv row 3``.

    Raises:
        InputError: no such file, another ending, no text in UTF-8, or not of its form; names line and column.
    """
    path = Path(file)
    if not path.is_file():
        kind = " (it is a folder; name a file)" if path.is_dir() else ""
        raise InputError(f"data file {file} does not exist{kind}")
    packed = path.suffix.lower() if path.suffix.lower() in (".gz", ".zst") else ""
    ending = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(f"data file {file}: ending {ending!r}, expected one of {', '.join(_ENDINGS)}, or with .gz")
    if ending == ".parquet" and packed:
        raise InputError(f"data file {file}: parquet is compressed in itself; unpack {packed}")
    if ending == ".parquet":
        rows = read_parquet(path)
    elif ending in (".csv", ".tsv"):
        rows = _csv_rows(path, _text(path, packed))
    else:
        rows = _json_rows(path, _text(path, packed))
    for number, row in enumerate(rows, 1):
        yield f"{file} row {number}", row


def _text(path: Path, packed: str) -> str:
    if not packed:
        check_kind(path, "data file")
    try:
        raw = _unpacked(path, packed)
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4096]:
            raise InputError(f"data file {path}: not UTF-8 but UTF-16, or no text at all; save it as UTF-8")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"data file {path} line {line}: not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _unpacked(path: Path, packed: str) -> bytes:
    try:
        if packed == ".zst":
            return _zstd(path)
        return gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"data file {path}: cannot be read ({error})") from error


def _zstd(path: Path) -> bytes:
    import pyarrow

    with pyarrow.input_stream(str(path), compression="zstd") as stream:
        return bytes(stream.read())


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    given = first.strip().lower()
    delimiter = first.strip()[4] if given.startswith("sep=") and len(given) == 5 else ""
    body = text.split("\n", 1)[1] if delimiter else text
    delimiter = delimiter or max(DELIMITERS, key=lambda one: (first.count(one), one == ","))
    reader = csv.DictReader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        if len(set(names)) < len(names):
            raise InputError(f"data file {path}: a column stands twice in the header ({', '.join(names)})")
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"data file {path} line {reader.line_num}: not {len(names)} fields ({', '.join(names)})"
                )
            yield {str(key).strip(): value for key, value in row.items()}
    except csv.Error as error:
        raise InputError(f"data file {path} line {reader.line_num}: no csv that can be read ({error})") from error


class _WrittenFloat(float):
    """A number that becomes the text that it was written as: ``1.10`` is no ``1.1`` in an answer."""

    def __new__(cls, text: str) -> _WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        return self.text


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    """One object a line, objects over several lines, one list, or one object that wraps a list."""
    decoder, place = json.JSONDecoder(parse_float=_WrittenFloat), 0
    number = 0
    while (place := _next(text, place)) < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise InputError(_no_json(path, text, error)) from error
        only = not number and _next(text, end) == len(text)
        rows = _list_in(value) if only else None
        if rows is None and isinstance(value, list) and not only:
            raise InputError(f"{path} line {text.count(chr(10), 0, place) + 1}: found list, expected a JSON object")
        for row in [value] if rows is None else rows:
            number += 1
            if not isinstance(row, dict):
                raise InputError(f"{path} row {number}: found {type(row).__name__}, expected a JSON object")
            yield row
        place = end


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n\ufeff":
        place += 1
    return place


def _list_in(value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        return inner if key in _WRAPPERS and isinstance(inner, list) else None
    return None


def _no_json(path: Path, text: str, error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return f"data file {path}: no JSON that can be read ({' '.join(str(error).split())[:100]})"
    line = text.splitlines()[error.lineno - 1] if error.lineno <= len(text.splitlines()) else ""
    hint = "; JSON wants double quotes" if line.lstrip().startswith("{'") else ""
    if line.rstrip().endswith(","):
        hint = "; objects stand one a line without a comma, or in a list"
    return f"{path} line {error.lineno} column {error.colno}: no JSON ({error.msg}){hint}"
