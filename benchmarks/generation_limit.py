"""The fastest that memory allows: what decoding must read, over what the device can copy.

    seconds = (steps x bytes of weights + tokens read x bytes of a token's keys and values) / bandwidth

Steps are those that our own schedule made, counted while it ran. In each, every weight is read once, however many
rows there are (of the input embeddings only some rows, which are left out), and of every row the keys and values of
all its tokens, a prefix that all rows share once a step. The bandwidth is measured on the spot by a large copy: bytes
read and written. Not in it: reading the prompts (bound by arithmetic, not by memory), and what the cache holds behind
a row's end. So the share of the limit that a way reaches also tells how much a better schedule or kernel could gain.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from generation_ways import Answers, Way
from transformers import PreTrainedModel

from ptst_pl.generation.engine.check import cache_shape
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.schedule import Row
from ptst_pl.generation.request import Request


@dataclass
class Count:
    """What decoding read.

    Attributes:
        steps: forward passes of one token a row.
        tokens: tokens whose keys and values were read, summed over the steps.
    """

    steps: int = 0
    tokens: int = 0

    def add(self, rows: Sequence[Row], steps: int, prefix: int) -> None:
        """Steps of rows behind a common prefix of so many tokens."""
        # The newest token is written in the step, and read with the others.
        held = sum(len(row.request.ids) - prefix + len(row.made) for row in rows)
        self.steps += steps
        self.tokens += steps * (prefix + held) + len(rows) * steps * (steps - 1) // 2


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """Count the engine's decode steps."""
    count, own = Count(), ModelRunner.decode

    def decode(self: ModelRunner, rows: Sequence[Row], steps: int) -> list[list[int]]:
        count.add(rows, steps, self.prefix)
        return own(self, rows, steps)

    with mock.patch.object(ModelRunner, "decode", decode):
        yield count


def counted(way: Way, count: Count) -> Way:
    """The way, whose last run is in ``count`` afterwards."""

    def watched(model: PreTrainedModel, wanted: Sequence[Request], stops: Sequence[int]) -> Answers:
        with counting() as found:
            answers = way(model, wanted, stops)
        count.steps, count.tokens = found.steps, found.tokens
        return answers

    return watched


def bandwidth(device: str, size: int) -> float:
    """Bytes a second, read and written, of the best of ten copies of ``size`` bytes."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size / best


def synchronize(device: str) -> None:
    """Wait for a GPU, so that a clock tells the truth."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of the weights that a step reads as a whole."""
    looked_up = model.get_input_embeddings().weight
    tied = looked_up is model.get_output_embeddings().weight
    return sum(p.nbytes for p in model.parameters() if tied or p is not looked_up)


def limit_seconds(model: PreTrainedModel, count: Count, speed: float) -> float:
    """The formula above."""
    if not count.steps:
        raise RuntimeError("no decode step was counted: the engine no longer decodes through ModelRunner.decode")
    read = count.steps * weight_bytes(model) + count.tokens * cache_shape(model).token_bytes
    return read / speed
