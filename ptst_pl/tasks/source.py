"""What tasks share whose source has no held-out split of its own: filter, choose, count, and say so."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ptst_pl import InputError
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.rows import read_rows
from ptst_pl.tasks.subset import Keyed, Parts, choose
from ptst_pl.tokenization import Encoded, Example

log = logging.getLogger(__name__)


class SourceTask(Task):
    """Rows of one file or hub data set, some of which are held out.

    Without ``held_out_file``, ``held_out_count`` rows of the training source are held out, chosen by a hash
    (see ``ptst_pl.tasks.subset``) and never trained on. With it all rows are trained on.

    Args:
        template: see ``Task``.
        train_file: local .jsonl, .json (a list) or .parquet file; without it the hub's ``repository``.
        held_out_file: the same for the held-out loss.
        count: train on this many rows, chosen by a hash; None for all.
        held_out_count: rows to hold out where there is no ``held_out_file``.
        subset_seed: which rows are chosen and held out; apart from ``seed``, which orders them, so that runs
            with other seeds train on the same rows.
        repository: hub name, where it is not the usual one.
        options: see ``Task``.
    """

    hub: ClassVar[str]
    paper_rows: ClassVar[tuple[int, ...]] = ()
    """Numbers of training rows that the paper states."""

    def __init__(
        self,
        template: str,
        train_file: str | None = None,
        held_out_file: str | None = None,
        count: int | None = None,
        held_out_count: int = 1000,
        subset_seed: int = 0,
        repository: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(template, **options)
        for name, value in (("count", count), ("held_out_count", held_out_count)):
            if value is not None and value < 0:
                raise InputError(f"data.{name} is {value}, expected 0 or more")
        self.train_file, self.held_out_file, self.repository = train_file, held_out_file, repository or self.hub
        self.count, self.held_out_count, self.subset_seed = count, held_out_count, subset_seed
        self.left_out: Counter[str] = Counter()
        self._chosen: Parts | None = None

    @abstractmethod
    def example(self, row: dict[str, Any], where: str) -> Example:
        """The training pair of a raw row.

        Raises:
            InputError: a key is missing or holds no text.
        """

    def key(self, row: dict[str, Any], example: Example) -> str:
        """What makes a row the same one elsewhere; rows of one key stay on one side of the split."""
        return example.question

    def reason_to_leave_out(self, example: Example) -> str:
        """Why a row is not used, or an empty string."""
        if not example.answer.strip():
            return "without an answer"
        return "" if example.question.strip() else "without a question"

    def files(self, part: str) -> list[str]:
        """See ``Task``."""
        file = self.train_file if part == "train" else self.held_out_file or self.train_file
        return [] if file is None else [file]

    def train_examples(self) -> Sequence[Example]:
        """The rows to train on, in the source's order."""
        return self._parts().train

    def held_out_examples(self) -> Sequence[Example]:
        """The held-out rows."""
        if self.held_out_file is None:
            return self._parts().held_out
        return [example for _, example in self._usable(self.held_out_file)]

    def split(self, rows: Iterator[Keyed]) -> Parts:
        """Training and held-out rows."""
        held_out = self.held_out_count if self.held_out_file is None else 0
        return choose(rows, self.count, held_out, self.subset_seed)

    def rows(self, part: str) -> Sequence[Encoded]:
        """The encoded rows; the text that was read for them is let go once both parts are encoded."""
        rows = super().rows(part)
        if {"train", "held_out"} <= set(self._rows):
            self._chosen = None
        return rows

    def _usable(self, file: str | None) -> Iterator[Keyed]:
        for where, row in read_rows(file, self.repository):
            example = self.example(row, where)
            reason = self.reason_to_leave_out(example)
            if reason:
                self.left_out[reason] += 1
            else:
                yield self.key(row, example), example

    def _parts(self) -> Parts:
        if self._chosen is None:
            self.left_out.clear()
            self._chosen = self.split(self._usable(self.train_file))
            self._announce(self._chosen)
        return self._chosen

    def _announce(self, parts: Parts) -> None:
        name, source = type(self).__name__, self.train_file or self.repository
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items())) or "none"
        log.info(
            "%s: %d usable rows in %s; left out: %s; %d to train on, %d held out",
            name, parts.rows, source, left_out, len(parts.train), len(parts.held_out),
        )  # fmt: skip
        if not parts.train:
            held = f" once {len(parts.held_out)} are held out; lower data.held_out_count" if parts.held_out else ""
            raise InputError(f"task {name}: {source} has no rows to train on{held}")
        if self.count is not None and len(parts.train) < self.count:
            log.warning("%s: %d rows to train on were asked for, found %d", name, self.count, len(parts.train))
        if self.paper_rows and len(parts.train) not in self.paper_rows:
            stated = " or ".join(f"{rows:,}" for rows in self.paper_rows)
            log.warning("%s: trains on %s rows, the paper on %s", name, f"{len(parts.train):,}", stated)
