"""Raw rows one after the other, from a local file or the hub: nothing is held that was read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import read_lines

log = logging.getLogger(__name__)
Row = dict[str, Any]
PROGRESS_EVERY = 200_000
_ENDINGS = (".jsonl", ".json", ".parquet")


def read_rows(file: str | None, repository: str, split: str = "train") -> Iterator[tuple[str, Row]]:
    """Rows of a local file, or of a hub data set where no file is given, each with where it stands.

    A jsonl file, a parquet file and the hub are streamed; a json file is a list and read as a whole.

    Raises:
        InputError: no such file, another ending, not of its form, or the hub cannot be reached.
    """
    rows = _stream_hub(repository, split) if file is None else _stream_file(file)
    name = f"{repository} {split}" if file is None else file
    for number, row in enumerate(rows, 1):
        if number % PROGRESS_EVERY == 0:
            log.info("%s: %d rows read", name, number)
        yield f"{name} row {number}", row


def _stream_file(file: str) -> Iterator[Row]:
    path = Path(file)
    if not path.is_file():
        raise InputError(f"data file {file} does not exist")
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(f"data file {file}: ending {path.suffix!r}, expected one of {', '.join(_ENDINGS)}")
    if ending == ".parquet":
        return read_parquet(path)
    return read_lines(path) if ending == ".jsonl" else iter(_read_list(path))


def _read_list(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"data file {path}: no JSON in UTF-8 ({error})") from error
    if not isinstance(rows, list):
        raise InputError(f"data file {path}: found {type(rows).__name__}, expected a list of objects")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError(f"{path} row {number}: found {type(row).__name__}, expected a JSON object")
    return rows


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a parquet file, a thousand held at a time.

    Raises:
        InputError: it is none.
    """
    import pyarrow  # type: ignore[import-untyped]  # heavy, and not needed for the other forms
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000):
            yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"data file {path}: no parquet that can be read ({reason})") from error


def _stream_hub(repository: str, split: str) -> Iterator[Row]:
    import datasets  # heavy, and not needed for local files

    try:
        yield from map(dict, datasets.load_dataset(repository, split=split, streaming=True))
    except InputError:
        raise
    except Exception as error:  # the hub client raises many kinds; all mean "not to be had"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"data set {repository!r} ({split}) cannot be had from the hub ({reason}); give a local file instead"
        ) from error
