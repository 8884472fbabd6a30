"""The slots' schedule with a model that only counts: every request once, whatever the slots and lengths."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl.generation.engine.budget import slots_for
from ptst_pl.generation.engine.drafts import Trust, held
from ptst_pl.generation.engine.schedule import Ending, Row, Settings, fitting, serve
from ptst_pl.generation.request import Request

STOP = 0


def token(seed: int, place: int) -> int:
    """The model's answer: a function of request and place alone."""
    return (seed * 31 + place * 17 + seed * place) % 11


class Counting:
    """A model that knows what is in its slots, and complains if it is asked for something else."""

    def __init__(self, slots: int) -> None:
        self.slots: list[tuple[int, int] | None] = [None] * slots

    def prefill(self, first, rows):
        for slot, row in enumerate(rows, first):
            assert row.made == []
            assert self.slots[slot] is None
        chosen = [[token(row.request.seed, place) for place in range(len(row.draft) + 1)] for row in rows]
        found = [held(row.draft, own) for row, own in zip(rows, chosen, strict=True)]
        for slot, (row, own) in enumerate(zip(rows, found, strict=True), first):
            assert len(own) <= row.left
            self.slots[slot] = (row.index, len(own))
        return found

    def decode(self, rows, steps):
        for slot, row in enumerate(rows):
            assert self.slots[slot] == (row.index, len(row.made))
            assert steps <= row.left
            self.slots[slot] = (row.index, len(row.made) + steps)
        self.slots[len(rows) :] = [None] * (len(self.slots) - len(rows))
        return [[token(row.request.seed, len(row.made) + step) for row in rows] for step in range(steps)]

    def move(self, moves):
        before = list(self.slots)
        for source, target, row in moves:
            assert before[source] is not None
            assert before[source][0] == row.index
            self.slots[target] = before[source]
        for source in {move[0] for move in moves} - {move[1] for move in moves}:
            self.slots[source] = None


class Cleared(Counting):
    """A finished row in the last slot just stays there: whoever comes next overwrites it."""

    def prefill(self, first, rows):
        self.slots[first:] = [None] * (len(self.slots) - first)
        return super().prefill(first, rows)


def expected(request: Request, stop_text) -> tuple[list[int], str]:
    made: list[int] = []
    for place in range(request.max_new_tokens):
        new = token(request.seed, place)
        if new == STOP:
            return made, "stop"
        made.append(new)
        if stop_text is not None and stop_text(made):
            return made, "stop_text"
    return made, "length"


def draft_of(index: int, request: Request) -> list[int]:
    """Of every second request nothing, of the others what the model says, perhaps up to a wrong token."""
    right = [token(request.seed, place) for place in range(request.max_new_tokens - 1)]
    return [] if index % 2 else right if index % 4 == 0 else [*right[: index % 5], 99][: len(right)]


SIZES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 99), st.integers(1, 20)), max_size=40)


@given(SIZES, st.integers(1, 12), st.integers(1, 9), st.integers(1, 12), st.integers(1, 200), st.booleans())
@settings(deadline=None, max_examples=300)
def test_every_request_once_with_its_own_answer(sizes, slots, every, refill, tokens, by_text):
    """Rows of even numbers have drafts, every fourth one's is the answer."""
    requests = [Request([1] * size, seed, longest) for size, seed, longest in sizes]
    stop_text = (lambda ids: ids[-2:] in ([3, 9], [7, 2])) if by_text else None
    found, made = {}, []

    def done(index, answer):
        assert index not in found
        found[index] = (answer.ids, answer.finish_reason)

    serve(
        Cleared(slots),
        [Row(index, request, draft=draft_of(index, request)) for index, request in enumerate(requests)],
        Settings(slots, every, refill, tokens),
        Ending(frozenset([STOP]), stop_text),
        done,
        made.append,
        Trust(0.3),
    )
    assert found == {index: expected(request, stop_text) for index, request in enumerate(requests)}
    assert sum(made) == sum(len(ids) for ids, _ in found.values())


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_prompts_are_cut_into_batches_that_fit(sizes, tokens):
    rows = [Row(index, Request([1] * size, 0, 1)) for index, size in enumerate(sizes)]
    while rows:
        count = fitting([row.unread for row in rows], tokens)
        part, rows = rows[:count], rows[count:]
        assert part
        assert len(part) == 1 or len(part) * max(len(row.request.ids) for row in part) <= tokens
        if rows:
            assert (len(part) + 1) * max(len(row.request.ids) for row in [*part, rows[0]]) > tokens


def test_slots_are_bounded_by_wish_requests_and_memory():
    cpu = torch.device("cpu")
    assert slots_for(None, 10_000, 1, 10**9, cpu) == 512
    assert slots_for(64, 10_000, 1, 10**9, cpu) == 64
    assert slots_for(64, 3, 1, 10**9, cpu) == 3
    assert slots_for(64, 100, 1000, 5500, cpu) == 5
    assert slots_for(64, 100, 10_000, 5500, cpu) == 1


def test_a_shared_prefix_counts_where_its_copies_need_memory():
    class Noting(Cleared):
        def prefill(self, first, rows):
            sizes.append(len(rows))
            return super().prefill(first, rows)

    for counted, expected_sizes in ((False, [4, 4]), (True, [2, 2, 2, 2])):
        sizes: list[int] = []
        rows = [Row(index, Request([1] * 15, 0, 3), shared=10) for index in range(8)]
        settings = Settings(8, prefill_tokens=20 if not counted else 30, count_shared=counted)
        serve(Noting(8), rows, settings, Ending(frozenset()), lambda *answer: None, lambda tokens: None)
        assert sizes == expected_sizes
