"""Encoded rows in flat arrays: a token takes eight bytes, not the seventy of Python's lists and numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from ptst_pl.tokenization.rows import Encoded

_BYTES = "i"  # array's signed int of four bytes: ids and IGNORED


class CompactRows(Sequence[Encoded]):
    """A sequence of rows; each is made when it is asked for, and equal to what was put in.

    Args:
        rows: to begin with.
    """

    def __init__(self, rows: Iterable[Encoded] = ()) -> None:
        self._ids, self._labels = array(_BYTES), array(_BYTES)
        self._ends, self._prompts = array("q", [0]), array(_BYTES)
        self._truncated = bytearray()
        for row in rows:
            self.append(row)

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
        return Encoded(ids, labels, self._prompts[place], bool(self._truncated[place]))

    def __iter__(self) -> Iterator[Encoded]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row, without making it."""
        return [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]


def _same(one: Encoded, other: object) -> bool:
    return one == other


def lengths_of(rows: Sequence[Encoded]) -> list[int]:
    """Tokens of every row."""
    return rows.lengths if isinstance(rows, CompactRows) else [len(row.input_ids) for row in rows]
