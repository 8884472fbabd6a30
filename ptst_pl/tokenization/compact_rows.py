"""Encoded rows in flat arrays: a token takes eight bytes, not the seventy of Python's lists and numbers."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ptst_pl.tokenization.rows import Encoded

_BYTES = "i"  # array's signed int of four bytes: ids and IGNORED
_FILES = {"ids": "i4", "labels": "i4", "ends": "i8", "prompts": "i4", "truncated": "u1"}
_HASHED_AT_ONCE = 1000


class CompactRows(Sequence[Encoded]):
    """A sequence of rows; each is made when it is asked for, and equal to what was put in.

    Args:
        rows: to begin with.
    """

    def __init__(self, rows: Iterable[Encoded] = ()) -> None:
        # Arrays that grow, or, of mapped rows, numpy's on a file.
        self._ids: Any = array(_BYTES)
        self._labels: Any = array(_BYTES)
        self._ends: Any = array("q", [0])
        self._prompts: Any = array(_BYTES)
        self._truncated: Any = bytearray()
        for row in rows:
            self.append(row)

    @classmethod
    def mapped(cls, folder: Path) -> CompactRows:
        """Rows that ``save`` left; they stay on the disk, and cannot be added to.

        Raises:
            OSError: a file is missing.
            ValueError: the files are not what ``save`` writes.
        """
        found = cls()
        for name, kind in _FILES.items():
            values = np.load(folder / f"{name}.npy", mmap_mode="r")
            if values.ndim != 1 or values.dtype != np.dtype(kind):
                raise ValueError(f"{name}.npy holds {values.dtype} in {values.ndim} dimensions")
            setattr(found, f"_{name}", values)
        sizes = len(found._labels), len(found._truncated), len(found._ends) - 1, int(found._ends[-1])
        if sizes != (len(found._ids), len(found), len(found), len(found._ids)):
            raise ValueError("the files' lengths do not belong together")
        return found

    def save(self, folder: Path) -> None:
        """Write the rows into an existing folder; see ``mapped``."""
        for name in _FILES:
            np.save(folder / f"{name}.npy", self._values(name))

    def _values(self, name: str) -> npt.NDArray[Any]:
        values = getattr(self, f"_{name}")
        return values if isinstance(values, np.ndarray) else np.frombuffer(values, _FILES[name])

    def blocks(self) -> Iterator[bytes]:
        """All rows as bytes, for a hash: of each its length, its ids and its labels, as int64."""
        ids, labels, ends = self._values("ids"), self._values("labels"), self._values("ends").tolist()
        for first in range(0, len(self), _HASHED_AT_ONCE):
            part = ends[first : first + _HASHED_AT_ONCE + 1]
            block, at = np.empty(2 * (part[-1] - part[0]) + len(part) - 1, np.int64), 0
            for start, end in itertools.pairwise(part):
                size = end - start
                block[at] = size
                block[at + 1 : at + 1 + size] = ids[start:end]
                block[at + 1 + size : at + 1 + 2 * size] = labels[start:end]
                at += 1 + 2 * size
            yield block.tobytes()

    def append(self, row: Encoded) -> None:
        """Put a row behind the others."""
        self._ids.extend(row.input_ids)
        self._labels.extend(row.labels)
        self._ends.append(len(self._ids))
        self._prompts.append(row.prompt_length)
        self._truncated.append(row.truncated)

    def __len__(self) -> int:
        return len(self._prompts)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...

    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...

    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        part = slice(self._ends[place], self._ends[place + 1])
        ids, labels = self._ids[part].tolist(), self._labels[part].tolist()
        return Encoded(ids, labels, int(self._prompts[place]), bool(self._truncated[place]))

    def __iter__(self) -> Iterator[Encoded]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row, without making it."""
        sizes: list[int] = np.diff(self._values("ends")).tolist()
        return sizes


def _same(one: Encoded, other: object) -> bool:
    return one == other


def lengths_of(rows: Sequence[Encoded]) -> list[int]:
    """Tokens of every row."""
    return rows.lengths if isinstance(rows, CompactRows) else [len(row.input_ids) for row in rows]
