"""The answers of an unfinished evaluation, kept as they come, so that a kill costs at most one batch.

One line a batch, after a first line that says of what evaluation they are::

    {"key": "<hash>"}
    {"cell": "advbench under chat:llama", "answers": [[17, [3, 14, 15], "stop"], ...]}
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import ResultsFolder, to_line


def key_of(*parts: Any) -> str:
    """Hash of settings, for a journal or a results folder to know its own by."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def weights_identity(base: Mapping[str, Any], checkpoint: str | None) -> list[Any]:
    """What tells one set of weights from another without reading them all.

    Args:
        base: the record's part about the base model: its hashes, or its name where they are not known.
        checkpoint: the file or folder; by names, sizes and times of change.
    """
    hashes = [base.get("config"), base.get("weights")]
    identity: list[Any] = [*(hashes if all(hashes) else [base.get("name")]), checkpoint]
    path = Path(checkpoint) if checkpoint else None
    if path is not None and path.exists():
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        identity += [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return identity


Content = list[int] | str
Stored = tuple[Content, str]


class Journal:
    """Append-only file of answers (token ids or text) with their finish reasons, by cell and prompt number.

    Args:
        path: the file; made at the first answer.
        key: hash of everything that the answers depend on. A file with another key is left aside and
            replaced: its answers belong to another evaluation.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.answers: dict[str, dict[int, Stored]] = defaultdict(dict)
        lines = list(_whole_lines(path))
        self.usable = bool(lines) and lines[0].get("key") == key
        for line in lines[1:] if self.usable else ():
            self.answers[line["cell"]] |= {int(i): (content, str(reason)) for i, content, reason in line["answers"]}

    def known(self, cell: str) -> dict[int, Stored]:
        """The answers of a cell that need not be generated again."""
        return dict(self.answers.get(cell, {}))

    def add(self, cell: str, answers: Mapping[int, Stored]) -> None:
        """Append and wait until the disk has it."""
        self.answers[cell] |= answers
        self.begin()
        entry = {"cell": cell, "answers": [[index, content, reason] for index, (content, reason) in answers.items()]}
        self._append([entry])

    def close(self) -> None:
        """The evaluation is complete and stored elsewhere: remove the file."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def begin(self) -> None:
        """Make the file, if it is not there yet."""
        if self.usable:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")
        self._append([{"key": self.key}])
        self.usable = True

    def _append(self, entries: Iterable[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as handle:
            handle.writelines(to_line(entry) for entry in entries)
            handle.flush()
            os.fsync(handle.fileno())


def _keys(folder: Path) -> set[str]:
    """Keys of the journals in a folder."""
    lines = [_whole_lines(path)[:1] for path in folder.glob("answers-*.jsonl")]
    return {str(line[0].get("key")) for line in lines if line}


def was_interrupted(folder: Path, key: str) -> bool:
    """Whether an evaluation of this key was begun in a folder and not finished."""
    return key in _keys(folder)


def check_folder(folder: Path, key: str) -> None:
    """A folder holds the results of one evaluation only: nothing, or what ``key`` stands for.

    Raises:
        InputError: it holds another evaluation, finished or not.
    """
    stored = ResultsFolder(folder).stored().get("key")
    if {stored, *_keys(folder)} - {None, key}:
        raise InputError(
            f"--results {folder}: holds an evaluation of other weights, templates, suites, judges or decoding; "
            "give another folder, or delete it"
        )


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written to their end; what a kill tore off is cut off the file too."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        return [json.loads(line) for line in whole.decode("utf-8").splitlines()]
    except ValueError:
        return []
