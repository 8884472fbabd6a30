"""From logits to the next token: greedy, or by a uniform number that belongs to the request alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.nucleus import NucleusWarper

Choose = Callable[[Tensor, Tensor | None], Tensor]
_BLOCK = 128


def uniforms(seed: int, count: int) -> Tensor:
    """(count,) float32 in [0, 1): the numbers that one answer's tokens are drawn with."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed % 2**63))


def chooser(decoding: Decoding) -> Choose:
    """Function from (B, V) logits and (B,) uniform numbers to (B,) tokens; greedy decoding needs no numbers."""
    if decoding.temperature == 0:
        return lambda logits, numbers: greedy(logits)
    warp = warpers(decoding)
    nothing = torch.empty(0, dtype=torch.long)

    def choose(logits: Tensor, numbers: Tensor | None) -> Tensor:
        assert numbers is not None
        return drawn(warp(nothing, logits.float()), numbers)

    return choose


def warpers(decoding: Decoding) -> LogitsProcessorList:
    """transformers' own temperature, top-k and top-p, in its order."""
    found = LogitsProcessorList()
    if decoding.temperature != 1:
        found.append(TemperatureLogitsWarper(float(decoding.temperature)))
    if decoding.top_k:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        found.append(NucleusWarper(decoding.top_p))
    return found


def greedy(logits: Tensor) -> Tensor:
    """(B,) the first of the largest of each row of (B, V)."""
    rows, size = logits.shape
    if logits.is_cuda or size < 8 * _BLOCK:
        return logits.argmax(-1)
    # On a CPU a maximum is ten times faster than an argmax: find the block that holds it first.
    whole = size // _BLOCK * _BLOCK
    blocks = logits[:, :whole].reshape(rows, -1, _BLOCK)
    block = blocks.amax(-1).argmax(-1)
    inside = blocks[torch.arange(rows), block]
    best = block * _BLOCK + inside.argmax(-1)
    if whole == size:
        return best
    rest, place = logits[:, whole:].max(-1)
    return torch.where(rest > inside.amax(-1), whole + place, best)


def drawn(scores: Tensor, numbers: Tensor) -> Tensor:
    """(B,) tokens where the running sum of the probabilities passes the uniform number.

    Inverse transform sampling. In float64, where a number below 1 times the total stays below the
    total: no token of probability 0 is ever drawn.
    """
    total = torch.softmax(scores, -1).double().cumsum(-1)
    target = numbers.double()[:, None] * total[:, -1:]
    return torch.searchsorted(total, target, right=True)[:, 0]
