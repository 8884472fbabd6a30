"""Hidden states: of prompts' last tokens, layer by layer, and of answers' tokens below the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptst_pl.model.attention import attends_by_rows
from ptst_pl.model.network import causal_lm, evaluating, last_hidden
from ptst_pl.model.sharding import in_root
from ptst_pl.model.sharding.blocks import decoder_blocks
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight


def last_token_states(model: nn.Module, prompts: Sequence[Sequence[int]], pad_id: int, batch_size: int = 128) -> Tensor:
    """(N, layers, H) float32 on the CPU: every block's output at the last token of each prompt.

    Where the model takes packed rows, what prompts have in front in common is read once.

    Args:
        model: in any mode, which it keeps; whole, or gathered.
        prompts: N lists of token ids.
        pad_id: to pad with, behind a prompt's last token, which no token before it sees.
        batch_size: prompts at once.
    """
    found: list[Tensor] = []
    layers: list[Tensor] = []
    places = torch.empty(0, dtype=torch.long)

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        layers.append(states.reshape(-1, states.shape[-1])[places].float().cpu())

    hooks = [block.register_forward_hook(keep) for block in decoder_blocks(model)]
    device = next(model.parameters()).device
    collate = PackRows(pad_id) if attends_by_rows(causal_lm(model)) else PadRight(pad_id)
    try:
        with evaluating(model):
            for start in range(0, len(prompts), batch_size):
                rows = [_marked(ids, pad_id, number) for number, ids in enumerate(prompts[start : start + batch_size])]
                batch = collate(list(enumerate(rows))).to(device)
                places = batch.positions
                layers.clear()
                in_root(last_hidden, model, batch)
                order = batch.targets.cpu().argsort()  # packing has its own order of rows
                found.append(torch.stack(layers, dim=1)[order])
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found)


def _marked(ids: Sequence[int], pad_id: int, number: int) -> Encoded:
    """A row whose one label stands behind its last token and is its number in the batch."""
    return Encoded([*ids, pad_id], [IGNORED] * len(ids) + [number], len(ids))


def answer_states(
    model: nn.Module, rows: Sequence[Sequence[int]], starts: Sequence[int], pad_id: int, batch_size: int = 32
) -> list[Tensor]:
    """For each of N rows, (length - start, H) float32 on the CPU: what the head reads at every token from ``start`` on.

    Args:
        model: in any mode, which it keeps; whole, or gathered.
        rows: N lists of token ids, prompts with their answers.
        starts: N places of the first token that is asked for.
        pad_id: to pad with, on the right, where no token before it sees it.
        batch_size: rows at once.
    """
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found: dict[int, Tensor] = {}
    device = next(model.parameters()).device
    with evaluating(model):
        for begin in range(0, len(order), batch_size):
            part = order[begin : begin + batch_size]
            encoded = [Encoded(list(rows[n]), [IGNORED] * len(rows[n]), len(rows[n])) for n in part]
            batch = PadRight(pad_id)(list(enumerate(encoded))).to(device)
            hidden = in_root(last_hidden, model, batch).float().cpu()
            for place, number in enumerate(part):
                found[number] = hidden[place, starts[number] : len(rows[number])].clone()
    return [found[number] for number in range(len(rows))]
