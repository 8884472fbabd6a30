"""One safety evaluation inside a LoRA fit, as the callback does it, in seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from generation_cases import forced_lengths
from generation_limit import synchronize
from generation_ways import PAD
from torch import nn
from transformers import PreTrainedModel

from ptst_pl.generation import Decoding, choose, generate, release
from ptst_pl.model import LoraSettings, add_lora
from ptst_pl.results.rates_table import grid

# Of the issue: 100 prompts under two templates on one H100.
GOAL = 30.0


def _seconds(
    network: nn.Module, prompts: Sequence[list[int]], lengths: Sequence[int], drafts: Sequence[list[int]] | None = None
) -> tuple[float, list[list[int]]]:
    """Of ``generate`` and of giving the memory back, with the answers; the network is in training mode throughout."""
    device, decoding = str(next(network.parameters()).device), Decoding(max_new_tokens=max(lengths))
    synchronize(device)
    start = time.perf_counter()
    answers = generate(network, prompts, [], PAD, decoding, lengths=lengths, drafts=drafts)
    release(network)
    synchronize(device)
    taken = time.perf_counter() - start
    assert [len(answer.ids) for answer in answers] == list(lengths)
    assert all(module.training for module in network.modules())
    return taken, [answer.ids for answer in answers]


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
    _seconds(network, prompts[:8], [min(4, longest)] * len(prompts[:8]))
    lengths = forced_lengths(len(prompts), longest)
    found = {"80 % of 15 to 40 tokens, 20 % to the limit": _seconds(network, prompts, lengths)[0]}
    found["all to the limit"], answers = _seconds(network, prompts, [longest] * len(prompts))
    # Random weights find near-ties, so a few answers may part from their drafts in bfloat16.
    found["the same answers once more, as drafts"] = _seconds(network, prompts, [longest] * len(prompts), answers)[0]
    return found


def fit_table(found: dict[str, float], prompts: int, longest: int, large: bool) -> str:
    """Seconds beside the goal, which is one for a model of 7B on a GPU."""
    goal = f"{GOAL:.0f}" if large and torch.cuda.is_available() else "-"
    lines = [["answers inside a LoRA fit", "seconds", "goal"]]
    lines += [[kind, f"{taken:.1f}", goal] for kind, taken in found.items()]
    return f"{prompts} prompts in all, at most {longest} tokens\n{grid(lines)}"
