"""One safety evaluation inside a LoRA fit, as the callback does it, in seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from unittest import mock

import torch
from generation_cases import forced_lengths
from generation_limit import synchronize
from generation_ways import PAD
from torch import nn
from transformers import PreTrainedModel

from ptst_pl.generation import Decoding, Request, backend, choose, generate, release
from ptst_pl.model import LoraSettings, add_lora
from ptst_pl.results.rates_table import grid

# Of the issue: 100 prompts under two templates on one H100.
GOAL = 30.0


@contextlib.contextmanager
def _forced(lengths: Sequence[int]) -> Iterator[None]:
    """``generate`` asks for answers of these lengths: random weights end none by themselves."""
    left = iter(lengths)

    def request(ids: list[int], seed: int, longest: int) -> Request:
        return Request(ids, seed, min(longest, next(left)))

    with mock.patch.object(backend, "Request", request):
        yield


def _seconds(network: nn.Module, prompts: Sequence[list[int]], lengths: Sequence[int], longest: int) -> float:
    """Of ``generate`` and of giving the memory back; the network is in training mode before and after."""
    device, decoding = str(next(network.parameters()).device), Decoding(max_new_tokens=longest)
    synchronize(device)
    start = time.perf_counter()
    with _forced(lengths):
        answers = generate(network, prompts, [], PAD, decoding)
    release(network)
    synchronize(device)
    taken = time.perf_counter() - start
    assert [len(answer.ids) for answer in answers] == list(lengths)
    assert all(module.training for module in network.modules())
    return taken


def evaluation_in_a_fit(model: PreTrainedModel, prompts: Sequence[list[int]], longest: int) -> dict[str, float]:
    """Seconds of one evaluation of a model with LoRA adapters in training mode, by the kind of its answers.

    The model keeps its adapters. The check of the engine, which a fit makes once, is made before; optimiser and
    gradients (of the adapters alone) are not there.

    Args:
        model: without adapters.
        prompts: of all templates, one after the other.
        longest: most tokens of an answer.
    """
    network = add_lora(model, LoraSettings()).train()
    assert choose(network, "auto", max(len(ids) for ids in prompts) + longest) == "engine"
    _seconds(network, prompts[:8], [min(4, longest)] * len(prompts[:8]), longest)
    lengths = forced_lengths(len(prompts), longest)
    return {
        "80 % of 15 to 40 tokens, 20 % to the limit": _seconds(network, prompts, lengths, longest),
        "all to the limit": _seconds(network, prompts, [longest] * len(prompts), longest),
    }


def fit_table(found: dict[str, float], prompts: int, longest: int, large: bool) -> str:
    """Seconds beside the goal, which is one for a model of 7B on a GPU."""
    goal = f"{GOAL:.0f}" if large and torch.cuda.is_available() else "-"
    lines = [["answers inside a LoRA fit", "seconds", "goal"]]
    lines += [[kind, f"{taken:.1f}", goal] for kind, taken in found.items()]
    return f"{prompts} prompts in all, at most {longest} tokens\n{grid(lines)}"
