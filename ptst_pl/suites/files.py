"""Rows of a local file: csv, tsv, json (a list of objects, or an attack artifact), jsonl or parquet.

Everything that can be wrong with such a file is one line that names the file and the line or row.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import bounded_lines, read_lines
from ptst_pl.suites.artifact import is_artifact, read_artifact
from ptst_pl.suites.csv_files import read_csv
from ptst_pl.suites.file_kind import check_kind, is_json_lines
from ptst_pl.suites.rows import Row, RowFile, numbered

_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
MAX_JSON_BYTES = 64 * 2**20  # a json file is read as a whole; the largest public set has 0.2 MB


def read_file(path: Path, columns: Sequence[str] = (), header: bool = True) -> RowFile:
    """All rows of a file, by its ending; an empty file has none. JSON lines are read as such under any ending.

    Args:
        path: the file.
        columns: names in lower case, one of which the header of a csv file must have.
        header: False for a csv file with one column and no header.

    Raises:
        InputError: no such file, no file of prompts at all, another ending, not UTF-8, or not of its form.
    """
    ending = path.suffix.lower()
    try:
        if not path.exists():
            raise InputError(f"suite file {path} does not exist")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise InputError(f"suite file {path} is {kind}, expected one of {', '.join(_ENDINGS)}")
        if ending not in _ENDINGS:
            raise InputError(f"suite file {path}: ending {path.suffix!r}, expected one of {', '.join(_ENDINGS)}")
        if ending == ".parquet":
            return numbered(_read_parquet(path))
        check_kind(path)
        if ending == ".json":
            return _read_json(path)
        if ending == ".jsonl" or is_json_lines(path):
            return numbered(list(read_lines(path)))
        return numbered(read_csv(path, _text_lines, columns, header))
    except OSError as error:
        raise InputError(f"suite file {path} cannot be read ({error.strerror})") from error


# ---- text ---------------------------------------------------------------------------------------


def _text(raw: bytes, where: str) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw:
        raise InputError(f"{where}: not UTF-8 but UTF-16, or no text at all (NUL bytes); save it as UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _text_lines(path: Path) -> Iterator[str]:
    for number, raw in bounded_lines(path):
        text = _text(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, f"{path} line {number}")
        # Old line ends (a carriage return alone) end a line too.
        yield from io.StringIO(text, newline="")


# ---- json ---------------------------------------------------------------------------------------


def _read_json(path: Path) -> RowFile:
    value = _json(path)
    if is_artifact(value):
        return read_artifact(path, value)
    if not isinstance(value, list):
        found = f"an object with keys {', '.join(list(value)[:5])}" if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: found {found}, expected a JSON list of objects")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise InputError(f"{path} row {number}: found {type(row).__name__}, expected a JSON list of objects")
    return numbered(value)


def _json(path: Path) -> Any:
    if path.stat().st_size > MAX_JSON_BYTES:
        size, most = path.stat().st_size / 2**20, MAX_JSON_BYTES // 2**20
        raise InputError(
            f"{path}: {size:.0f} MiB, expected at most {most} MiB of JSON; write one row a line, as .jsonl"
        )
    text = _text(path.read_bytes().removeprefix(codecs.BOM_UTF8), str(path))
    if not text.strip():
        return []
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: no JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise InputError(f"{path}: no JSON that can be read ({error})") from error


# ---- parquet ------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: no parquet file that can be read ({' '.join(str(error).split())[:200]})") from error
    return rows
