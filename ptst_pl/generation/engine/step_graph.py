"""Decode steps that are recorded once and replayed: launching a step's thousand kernels takes longer than they run.

A recording is a step of fixed size on fixed buffers (``buckets``); rows beyond those in work compute nonsense in
free slots, which the next prompt overwrites. What records is ``recorder``; here is when, and the proof
that a recording computes what the step does. A recording reads the weights where they lay when it was made:
it lives as long as one group of prompts.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ptst_pl.generation.engine.agreement import disagreement
from ptst_pl.generation.engine.buckets import Bucket, bucket_of, covering, spare
from ptst_pl.generation.engine.cache import SlotCache
from ptst_pl.generation.engine.decode_pass import DecodePass
from ptst_pl.generation.engine.sampling import Choose

Step = Callable[[], Tensor]
Forward = Callable[[Tensor, Tensor, DecodePass], Tensor]
# Steps' worth of launching (or of rows and tokens to spare) after which a size is recorded: about what that costs.
WORTHWHILE = 8
# Each takes some megabytes that no budget counts; beyond, larger ones and plain steps have to do.
MOST = 32


class Look(NamedTuple):
    """Steps between two looks at the tokens.

    Attributes:
        ids: (B,) the newest token of each row, not yet in its slot.
        places: (B,) tokens in each slot.
        longest: the largest of them, known without asking the device.
        numbers: (steps, B) uniform numbers, if tokens are sampled.
        steps: how many.
    """

    ids: Tensor
    places: Tensor
    longest: int
    numbers: Tensor | None
    steps: int


class Recording(NamedTuple):
    """A step that can be done again without its Python; ``logits`` are where each replay leaves them."""

    replay: Callable[[], object]
    logits: Tensor


class Recorder(Protocol):
    """What records steps."""

    def rehearse(self, step: Step) -> None:
        """Do the step once, as it will be recorded.

        Raises:
            RuntimeError: it does what no recording can, such as wait for the device.
        """

    def record(self, step: Step) -> Recording:
        """Record what a rehearsed step does with its tensors, whether or not it does it meanwhile.

        Raises:
            RuntimeError: it cannot be recorded.
        """


class StepGraphs:
    """Steps on fixed buffers, replayed where a recording covers them.

    Args:
        cache: the slots.
        forward: (B, V) logits behind (B,) ids at (B,) places.
        choose: tokens from logits.
        sampled: whether ``choose`` needs uniform numbers.
        recorder: what records.
    """

    def __init__(self, cache: SlotCache, forward: Forward, choose: Choose, sampled: bool, recorder: Recorder) -> None:
        self.cache, self.forward, self.choose, self.recorder = cache, forward, choose, recorder
        device = cache.shape.device
        self.ids = torch.zeros(cache.slots, dtype=torch.long, device=device)
        self.places = torch.zeros_like(self.ids)
        self.numbers = torch.zeros(cache.slots, device=device) if sampled else None
        self.recorded: dict[Bucket, Callable[[], object]] = {}
        self.wasted: defaultdict[Bucket, float] = defaultdict(float)

    def steps(self, look: Look) -> Tensor:
        """(steps, B) tokens that follow; nothing here waits for the device."""
        rows = len(look.ids)
        made = look.ids.new_empty(look.steps, rows)
        self._load(look)
        for step in range(look.steps):
            self._draw(look, step)
            bucket = self._bucket(look, step)
            found = covering(bucket, self.recorded)
            if found is None:
                self._step(bucket)
            else:
                self.recorded[found]()
            made[step].copy_(self.ids[:rows])
        return made

    def prepare(self, look: Look) -> None:
        """Record the sizes of the coming steps that were met often enough; this may wait for the device.

        Raises:
            RuntimeError: a step cannot be recorded, or its recording computes something else.
            torch.OutOfMemoryError: there is no memory for it.
        """
        for bucket, steps in Counter(self._bucket(look, step) for step in range(look.steps)).items():
            if self.wasted[bucket] >= WORTHWHILE and bucket not in self.recorded and len(self.recorded) < MOST:
                self.recorded[bucket] = self._proven(bucket, look)
            self.wasted[bucket] += steps * spare(bucket, self.recorded)

    def close(self) -> None:
        """Forget the recordings, and with them their memory."""
        self.recorded.clear()

    def _bucket(self, look: Look, step: int) -> Bucket:
        return bucket_of(len(look.ids), look.longest + step + 1, self.cache.slots, self.cache.length)

    def _load(self, look: Look) -> None:
        """Bring the rows into the buffers. Idle ones do as the first does, alone in their slots: no NaN can arise."""
        rows = len(look.ids)
        self.ids.copy_(look.ids[:1].expand_as(self.ids))
        self.ids[:rows].copy_(look.ids)
        # An idle row is never ahead of all others, so its place stays inside the slot.
        self.places.zero_()
        self.places[:rows].copy_(look.places)

    def _load_others(self, look: Look, bucket: Bucket) -> None:
        """Bring in other tokens and places than the look's, to record with: numbers that become part of it will show.

        What a step does with them is harmless: the places are free ones.
        """
        self._load(look)
        self.ids.zero_()
        self.places.add_(1).clamp_(max=bucket.read - 1)

    def _draw(self, look: Look, step: int) -> None:
        if self.numbers is not None:
            assert look.numbers is not None
            self.numbers[: len(look.ids)].copy_(look.numbers[step])

    def _step(self, bucket: Bucket) -> Tensor:
        """(rows, V) logits; the buffers go on to the next step."""
        ids, places = self.ids[: bucket.rows], self.places[: bucket.rows]
        logits = self.forward(ids, places, DecodePass(self.cache, places, bucket.read - 1))
        ids.copy_(self._choice(logits))
        places.add_(1)
        return logits

    def _choice(self, logits: Tensor) -> Tensor:
        return self.choose(logits, None if self.numbers is None else self.numbers[: len(logits)])

    def _proven(self, bucket: Bucket, look: Look) -> Callable[[], object]:
        """A recording that gives the look's first step as the step itself does; see ``prepare`` for what it raises."""
        step, rows = functools.partial(self._step, bucket), len(look.ids)
        self._load_others(look, bucket)
        self.recorder.rehearse(step)
        self._load_others(look, bucket)
        recording = self.recorder.record(step)
        # The replay comes first: it finds no keys and values of this step in the slots but its own.
        self._load(look)
        self._draw(look, 0)
        recording.replay()
        found, tokens, places = recording.logits.clone(), self.ids[:rows].clone(), self.places[:rows].clone()
        self._load(look)
        expected = step()
        difference = disagreement(found[:rows], expected[:rows], self.cache.shape.dtype)
        if difference:
            raise RuntimeError(f"gives other logits ({difference})")
        if not torch.equal(tokens, self._choice(found)[:rows]) or not torch.equal(places, self.places[:rows]):
            raise RuntimeError("leaves other tokens or places behind")
        return recording.replay
