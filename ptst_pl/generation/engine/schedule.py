"""Which request is in which slot, and when its answer is finished: no tensors here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ptst_pl.generation.decoding import Answer
from ptst_pl.generation.engine.drafts import Trust
from ptst_pl.generation.request import Request


@dataclass
class Row:
    """A request on its way.

    Attributes:
        index: the request's number.
        request: what is asked.
        shared: first tokens of its prompt that are read once for all rows.
        draft: the answer's first tokens, perhaps; at least one token of the answer is not in it.
        made: tokens of the answer so far.
    """

    index: int
    request: Request
    shared: int = 0
    draft: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)

    @property
    def unread(self) -> int:
        """Tokens to read before the answer can begin."""
        return len(self.request.ids) - self.shared + len(self.draft)

    @property
    def left(self) -> int:
        """Tokens that the answer may still grow by."""
        return self.request.max_new_tokens - len(self.made)


class Runner(Protocol):
    """What computes tokens for rows in slots; the rows in work always fill the first slots."""

    def prefill(self, first: int, rows: Sequence[Row]) -> list[list[int]]:
        """Read the rows' prompts and drafts into the slots from ``first`` on; returns what holds, and a token more."""

    def decode(self, rows: Sequence[Row], steps: int) -> list[list[int]]:
        """Of every step one token for each row, from the tokens that the rows have."""

    def move(self, moves: Sequence[tuple[int, int, Row]]) -> None:
        """Let rows go on in other slots, all at the same time: from the first to the second number."""


@dataclass
class Ending:
    """When an answer is finished.

    Attributes:
        stops: ids that end an answer and are no part of it.
        stop_text: whether an answer's ids, complete with their newest, end it.
    """

    stops: frozenset[int]
    stop_text: Callable[[list[int]], bool] | None = None

    def reason(self, row: Row, token: int) -> str:
        """Add ``token`` to the row; returns why that finishes it, or nothing."""
        if token in self.stops:
            return "stop"
        row.made.append(token)
        if self.stop_text is not None and self.stop_text(row.made):
            return "stop_text"
        return "" if row.left else "length"


@dataclass
class Settings:
    """How slots are filled.

    Attributes:
        slots: rows in work at once.
        every: steps between two looks at the tokens; answers do not depend on it.
        refill: free slots for which it is worth to interrupt the others.
        prefill_tokens: most tokens, with padding, that are read at once.
        count_shared: whether the shared prefix counts too; every row gets a copy of its keys and values meanwhile, for
            which a GPU may have no room.
    """

    slots: int
    every: int = 1
    refill: int = 1
    prefill_tokens: int = 4096
    count_shared: bool = False


def serve(
    runner: Runner,
    waiting: Sequence[Row],
    settings: Settings,
    ending: Ending,
    done: Callable[[int, Answer], object],
    progress: Callable[[int], object],
    trust: Trust | None = None,
) -> None:
    """Answer every waiting row once.

    Args:
        runner: computes.
        waiting: the rows, in the order in which they are begun.
        settings: see there.
        ending: see there.
        done: called with a request's number and its answer, as soon as that is finished.
        progress: called with the number of tokens that answers grew by since it was last called.
        trust: whether the rows' drafts are read.
    """
    queue, active, trust = list(waiting)[::-1], list[Row](), trust or Trust()
    while queue or active:
        free = settings.slots - len(active)
        if queue and free and (free >= min(settings.refill, len(queue)) or not active):
            taken = [queue.pop() for _ in range(min(free, len(queue)))]
            while taken:
                if not trust.worthwhile:
                    for row in taken:
                        row.draft = []
                sizes = [row.unread + row.shared * settings.count_shared for row in taken]
                count = fitting(sizes, settings.prefill_tokens)
                part, taken = taken[:count], taken[count:]
                tokens = runner.prefill(len(active), part)
                trust.note([row.draft for row in part], tokens)
                active += part
                finished = _grow(part, tokens, ending)
                _leave(runner, active, finished, done)
                progress(sum(len(row.made) for row in part))
            continue
        steps = min(settings.every, min(row.left for row in active))
        before = sum(len(row.made) for row in active)
        finished = _grow(active, list(zip(*runner.decode(active, steps), strict=True)), ending)
        made = sum(len(row.made) for row in active) - before
        _leave(runner, active, finished, done)
        progress(made)


def fitting(sizes: Sequence[int], tokens: int) -> int:
    """How many rows, from the first on, one at least, are at most ``tokens`` tokens when padded to the longest."""
    longest = 0
    for count, size in enumerate(sizes):
        longest = max(longest, size)
        if count and longest * (count + 1) > tokens:
            return count
    return len(sizes)


def _grow(rows: Sequence[Row], tokens: Sequence[Sequence[int]], ending: Ending) -> dict[int, str]:
    """Give every row its tokens, up to its end; returns why rows ended, by request number."""
    finished: dict[int, str] = {}
    for row, own in zip(rows, tokens, strict=True):
        for token in own:
            reason = ending.reason(row, token)
            if reason:
                finished[row.index] = reason
                break
    return finished


def _leave(runner: Runner, active: list[Row], finished: dict[int, str], done: Callable[[int, Answer], object]) -> None:
    """Hand finished rows out; the last rows move into the slots of those that left."""
    if not finished:
        return
    before = list(active)
    places = {row.index: slot for slot, row in enumerate(before)}
    for slot in reversed(range(len(before))):
        if before[slot].index in finished:
            last = active.pop()
            if slot < len(active):
                active[slot] = last
    runner.move([(places[row.index], slot, row) for slot, row in enumerate(active) if places[row.index] != slot])
    for row in reversed(before):
        if row.index in finished:
            done(row.index, Answer(list(row.made), finished[row.index]))
