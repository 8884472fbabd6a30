"""Answers to many requests: groups with a common prefix, one after the other, through the slots."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ptst_pl import InputError
from ptst_pl.generation.decoding import Answer, Decoding
from ptst_pl.generation.engine.budget import free_bytes, slot_bytes, slots_for
from ptst_pl.generation.engine.cache import CacheShape, SlotCache
from ptst_pl.generation.engine.check import cache_shape, serving
from ptst_pl.generation.engine.drafts import LEAST_HELD, Trust
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.packed_weights import packed
from ptst_pl.generation.engine.prefix import shared_prefixes
from ptst_pl.generation.engine.schedule import Ending, Row, Settings, serve
from ptst_pl.generation.request import Request
from ptst_pl.model import causal_lm

log = logging.getLogger(__name__)
# Steps between two looks at the tokens: on a GPU each look waits for all steps that were sent there.
EVERY = {"cpu": 1, "cuda": 8}
# Share of the slots that must be free before the others wait for new prompts to be read.
REFILL = 1 / 8
PREFILL_TOKENS = {"cpu": 2048, "cuda": 8192}

_caches: weakref.WeakKeyDictionary[PreTrainedModel, SlotCache] = weakref.WeakKeyDictionary()


def release(model: nn.Module) -> None:
    """Give the memory of the slots back, which otherwise waits for the next ``run`` with this model."""
    _caches.pop(causal_lm(model), None)


@torch.no_grad()
def run(
    model: nn.Module,
    requests: Sequence[Request],
    stops: Sequence[int],
    decoding: Decoding,
    done: Callable[[int, Answer], object],
    stop_text: Callable[[list[int]], bool] | None = None,
    progress: Callable[[int], object] = lambda tokens: None,
    every: int | None = None,
    graphs: bool = True,
) -> None:
    """Answer every request once, in whatever order is fastest.

    An answer depends on the model, its prompt, the settings and its seed alone, as far as the arithmetic
    does not round differently beside other rows (pitfall D5). Where the device's memory does not hold the
    slots, there are fewer of them. The model, its mode, settings and the random state are as before afterwards,
    however this ends. No other rank is waited for: a sharded model must be gathered.

    Args:
        model: a model without an ``obstacle``.
        requests: what to answer.
        stops: ids that end an answer and are no part of it.
        decoding: temperature, top-p, top-k and slots; a request's length and seed are its own.
        done: called with a request's number and its answer as soon as that is finished. Reasons to finish:
            ``stop`` (a stop id), ``stop_text`` or ``length``.
        stop_text: whether the ids of an answer, complete with their newest, end it.
        progress: called with the number of tokens that answers grew by since it was last called.
        every: steps between two looks at the tokens; None: what suits the device. Changes no answer.
        graphs: replay decode steps as CUDA graphs, on a GPU and with a model that allows it; each is proven first.

    Raises:
        InputError: a request has no tokens.
        torch.OutOfMemoryError: a single slot does not fit.
    """
    for number, request in enumerate(requests):
        if not request.ids or request.max_new_tokens < 1:
            raise InputError(
                f"prompt {number} has {len(request.ids)} tokens and may be answered with {request.max_new_tokens}; "
                "both must be at least 1"
            )
    left = set(range(len(requests)))

    def finish(index: int, answer: Answer) -> None:
        left.discard(index)
        done(index, answer)

    trust = Trust(LEAST_HELD.get(next(model.parameters()).device.type, LEAST_HELD["cpu"]))
    work = _Work(Ending(frozenset(stops), stop_text), decoding, finish, progress, every, graphs, trust)
    most: int | None = None
    while left:
        slots = _serve(model, [_row(index, requests[index]) for index in sorted(left)], work, most)
        if left:
            log.warning("generation: no memory for %d answers at once, going on with fewer", slots)
            most = slots // 2
            release(model)
            torch.cuda.empty_cache()


@dataclass
class _Work:
    """What stays the same for all groups and attempts; see ``run``."""

    ending: Ending
    decoding: Decoding
    done: Callable[[int, Answer], object]
    progress: Callable[[int], object]
    every: int | None
    graphs: bool
    trust: Trust


def _serve(model: nn.Module, waiting: Sequence[Row], work: _Work, most: int | None) -> int:
    """Answer the rows until all are, or until memory runs out; returns the number of slots."""
    groups = shared_prefixes([row.request.ids for row in waiting])
    # An answer's last token is never read, so it needs no place.
    length = max(
        len(waiting[place].request.ids) - group.shared + waiting[place].request.max_new_tokens - 1
        for group in groups
        for place in group.rows
    )
    shape = cache_shape(model)
    slots = _slots(model, shape, length, len(waiting), work.decoding, most)
    kind = shape.device.type
    settings = Settings(
        slots=slots,
        every=EVERY.get(kind, 1) if work.every is None else work.every,
        refill=max(1, int(slots * REFILL)),
        prefill_tokens=PREFILL_TOKENS.get(kind, PREFILL_TOKENS["cpu"]),
        count_shared=kind != "cpu",
    )
    try:
        cache = _cache(model, shape, slots, length)
        with serving(model) as inner, packed(inner):
            for group in groups:
                for place in group.rows:
                    waiting[place].shared = group.shared
                rows = sorted((waiting[place] for place in group.rows), key=_order)
                runner = ModelRunner(inner, cache, work.decoding, rows[0].request.ids[: group.shared], work.graphs)
                try:
                    serve(runner, rows, settings, work.ending, work.done, work.progress, work.trust)
                finally:
                    runner.close()
    except torch.OutOfMemoryError:
        if slots == 1:
            raise
    return slots


def _row(index: int, request: Request) -> Row:
    return Row(index, request, draft=list(request.draft)[: request.max_new_tokens - 1])


def _order(row: Row) -> tuple[int, list[int]]:
    """The longest to read first: rows beside each other need little padding, and equal prompts are neighbours."""
    return -row.unread, row.request.ids


def _slots(model: nn.Module, shape: CacheShape, length: int, rows: int, decoding: Decoding, most: int | None) -> int:
    vocabulary = int(causal_lm(model).config.get_text_config().vocab_size)
    each = slot_bytes(shape, length, vocabulary, decoding.temperature > 0)
    free = free_bytes(shape.device, _held(model))
    wanted = decoding.slots if most is None else min(most, decoding.slots or most)
    slots = slots_for(wanted, rows, each, free, shape.device)
    if wanted is not None and slots < min(wanted, rows):
        log.warning("generation: %d answers at once are asked for, the memory here holds %d", wanted, slots)
    return slots


def _held(model: nn.Module) -> int:
    """Bytes of the slots that the last run left."""
    old = _caches.get(causal_lm(model))
    return 0 if old is None else old.slots * old.length * old.shape.token_bytes


def _cache(model: nn.Module, shape: CacheShape, slots: int, length: int) -> SlotCache:
    """Slots for the rows: those of the last run if they suffice."""
    old = _caches.get(causal_lm(model))
    if old is not None and old.fits(shape, slots, length):
        return old
    del old
    release(model)
    cache = _caches[causal_lm(model)] = SlotCache(shape, slots, length)
    return cache
