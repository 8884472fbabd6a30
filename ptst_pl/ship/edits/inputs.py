"""What every linear layer of a model is given on some rows: the mean of x x^T over their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptst_pl.model import batch_nll
from ptst_pl.model.network import causal_lm, evaluating
from ptst_pl.tokenization import Encoded
from ptst_pl.tokenization.batches import PadRight


def layer_inputs(model: nn.Module, rows: Sequence[Encoded], pad_id: int, batch_size: int = 16) -> dict[str, Tensor]:
    """(d, d) float32 by the name of the layer's weight. Holds one such matrix for each layer.

    Args:
        model: without adapters.
        rows: encoded rows, questions and answers.
        pad_id: to pad with; padding is not counted.
        batch_size: rows at once.
    """
    inner = causal_lm(model)
    head = inner.get_output_embeddings()
    sums: dict[str, Tensor] = {}
    real: list[Tensor] = []

    def add(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            given = inputs[0].detach().float()
            taken = given[real[0]] if given.ndim == 3 else given
            sums[name] = sums.get(name, torch.zeros(())) + taken.T @ taken

        return hook

    layers = {n: m for n, m in inner.named_modules() if isinstance(m, nn.Linear) and m is not head}
    hooks = [layer.register_forward_hook(add(f"{name}.weight")) for name, layer in layers.items()]
    count = 0
    try:
        with evaluating(model):
            for start in range(0, len(rows), batch_size):
                part = rows[start : start + batch_size]
                batch = PadRight(pad_id)(list(enumerate(part)))
                assert batch.attention_mask is not None
                real[:] = [batch.attention_mask.bool()]
                count += int(real[0].sum())
                batch_nll(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: value / max(count, 1) for name, value in sums.items()}
