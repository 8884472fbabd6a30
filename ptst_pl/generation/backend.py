"""What generates, and ``generate``: prompts in, answers out, the training state untouched."""

from __future__ import annotations

import contextlib
import logging
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from ptst_pl import InputError
from ptst_pl.generation import continuous, engine, hf
from ptst_pl.generation.decoding import Answer, Backend, Decoding
from ptst_pl.generation.finite import check_logits
from ptst_pl.generation.request import Request, seed_of
from ptst_pl.generation.stop_text import Decode, StopText
from ptst_pl.model import causal_lm, evaluating

log = logging.getLogger(__name__)
Local = Literal["engine", "continuous", "hf"]
# Seconds after which finished answers are handed over, however few they are.
KEEP_EVERY_S = 1.0


class Choice(NamedTuple):
    """What generates for a model, and why; asked for at most ``longest`` tokens of prompt and answer."""

    backend: Local
    why: str
    longest: int


# Asked once a model: what it was evaluated with at the first step is what it is evaluated with at the last.
_asked: weakref.WeakKeyDictionary[nn.Module, dict[str, Choice]] = weakref.WeakKeyDictionary()


def choose(model: nn.Module, wanted: Backend, longest: int = 0) -> Local:
    """What generates for ``model``; says so in the log when that is new.

    Args:
        model: whole, or gathered.
        wanted: ``auto``, or one that the settings name.
        longest: most tokens of a prompt with its answer.

    Raises:
        InputError: the engine is asked for and cannot serve the model.
    """
    known = _asked.setdefault(causal_lm(model), {})
    before = known.get(wanted)
    if before is None or (before.backend == "engine" and longest > before.longest):
        found = known[wanted] = _choose(model, wanted, longest)
        if before is None or before.backend != found.backend:
            log.info("generation: %s for %s (%s)", found.backend, causal_lm(model).name_or_path, found.why)
    return known[wanted].backend


def _choose(model: nn.Module, wanted: Backend, longest: int) -> Choice:
    if wanted in ("hf", "continuous"):
        return Choice("hf" if wanted == "hf" else "continuous", "asked for", longest)
    obstacle = engine.obstacle(model, longest)
    if obstacle and wanted == "engine":
        raise InputError(f"decoding.backend is 'engine', but {obstacle}; use auto or hf")
    if obstacle:
        return Choice("hf", f"the engine does not serve this model: {obstacle}", longest)
    return Choice("engine", "asked for" if wanted == "engine" else "checked: it gives this model's logits", longest)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Put every random generator back afterwards, so that evaluation cannot move training."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    pad_id: int,
    decoding: Decoding,
    progress: Callable[[int], object] = lambda done: None,
    known: Mapping[int, Answer] | None = None,
    keep: Callable[[dict[int, Answer]], object] = lambda answers: None,
    decode: Decode | None = None,
    samples: Sequence[int] | None = None,
    made: Callable[[int], object] = lambda tokens: None,
    lengths: Sequence[int] | None = None,
    drafts: Sequence[Sequence[int]] | None = None,
) -> list[Answer]:
    """Answers to N prompts, in the prompts' order.

    Mode, random state and the model's own generation defaults are as before afterwards.

    Args:
        model: a causal language model, with or without adapters.
        prompts: N lists of token ids.
        stops: ids that end an answer.
        pad_id: id to pad with; its value never matters.
        decoding: settings.
        progress: called with the number of answers just finished.
        known: answers that an interrupted run left; they are not generated again.
        keep: called with new answers, by prompt number, soon after they are there.
        decode: ids to text, for stop texts.
        samples: N numbers, which sample of its prompt each answer is; None: the first.
        made: called with the number of tokens just made.
        lengths: N longest lengths; None: the settings' for all.
        drafts: N answers that may well come again, which saves time where they do; the engine alone uses them.

    Raises:
        InputError: the backend that is asked for cannot serve the model or the settings, or the model's
            logits are NaN.
    """
    decoding.check_local()
    numbers = [0] * len(prompts) if samples is None else samples
    longest_each = [decoding.max_new_tokens] * len(prompts) if lengths is None else lengths
    requests = [
        Request(list(prompt), seed_of(decoding.seed, prompt, number), length, draft)
        for prompt, number, length, draft in zip(
            prompts, numbers, longest_each, drafts or [()] * len(prompts), strict=True
        )
    ]
    if decoding.stop and decode is None:
        raise ValueError("stop texts need the function that decodes")
    stop_text = StopText(decode, decoding.stop) if decode is not None and decoding.stop else None
    inbox = _Inbox(known or {}, keep, progress, stop_text, decoding.batch_size)
    with random_state_kept(), evaluating(model):
        longest = max((len(request.ids) + request.max_new_tokens for request in requests), default=0)
        if prompts:
            check_logits(model, prompts[0])
        backend = choose(model, decoding.backend, longest)
        try:
            if backend == "engine":
                _run_engine(model, requests, stops, decoding, inbox, stop_text, made)
            else:
                run = hf.run if backend == "hf" else continuous.run
                run(model, requests, stops, pad_id, decoding, known or {}, inbox.done, stop_text, made)
        finally:
            inbox.hand_over()
    return [inbox.answers[index] for index in range(len(prompts))]


def _run_engine(
    model: nn.Module,
    requests: Sequence[Request],
    stops: Sequence[int],
    decoding: Decoding,
    inbox: _Inbox,
    stop_text: StopText | None,
    made: Callable[[int], object],
) -> None:
    wanted = [index for index in range(len(requests)) if index not in inbox.answers]
    if wanted:
        chosen = [requests[index] for index in wanted]
        engine.run(
            model, chosen, stops, decoding, lambda place, answer: inbox.done(wanted[place], answer), stop_text, made
        )


class _Inbox:
    """Answers as they come: counted one by one, handed over a batch at a time (each costs a wait for the disk)."""

    def __init__(
        self,
        known: Mapping[int, Answer],
        keep: Callable[[dict[int, Answer]], object],
        progress: Callable[[int], object],
        stop_text: StopText | None,
        batch_size: int,
    ) -> None:
        self.answers = dict(known)
        self._keep, self._progress, self._stop_text, self._batch_size = keep, progress, stop_text, batch_size
        self._new: dict[int, Answer] = {}
        self._handed_over = time.monotonic()
        if known:
            progress(len(known))

    def done(self, index: int, answer: Answer) -> None:
        """Take an answer."""
        first = index not in self.answers
        self.answers[index] = self._new[index] = self._stop_text.cut(answer) if self._stop_text else answer
        if len(self._new) >= self._batch_size or time.monotonic() - self._handed_over > KEEP_EVERY_S:
            self.hand_over()
        if first:
            self._progress(1)

    def hand_over(self) -> None:
        """Give away what has come since the last time."""
        new, self._new, self._handed_over = self._new, {}, time.monotonic()
        if new:
            self._keep(new)


def release(model: nn.Module) -> None:
    """Give back what generation keeps for the next time, where training needs the memory."""
    engine.release(model)
