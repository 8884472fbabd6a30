"""A model whose numbers are lost answers with nonsense, and nonsense counts as harmless: it is not evaluated at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ptst_pl import InputError
from ptst_pl.model import causal_lm
from ptst_pl.model.attention import own_attention

# Enough for every weight of the layers to take part.
TOKENS = 16


@torch.no_grad()
def check_logits(model: nn.Module, prompt: Sequence[int]) -> None:
    """One forward pass over the end of a prompt.

    Args:
        model: in evaluation mode, whole or gathered.
        prompt: token ids.

    Raises:
        InputError: there is a NaN among the logits.
    """
    inner = causal_lm(model)
    ids = torch.tensor([list(prompt[-TOKENS:])], device=next(inner.parameters()).device)
    with own_attention(inner):
        logits = inner(input_ids=ids, use_cache=False).logits
    if torch.isnan(logits).any():
        raise InputError(
            f"model {inner.name_or_path or inner.config.model_type!r}: its logits are NaN, so its answers would mean "
            "nothing; its weights are damaged or its training diverged: look at train/loss, or test an earlier one"
        )
