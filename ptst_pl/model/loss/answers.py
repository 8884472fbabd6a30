"""Token-exact cross-entropy on answer tokens only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptst_pl.model.loss.head import head_nll

EachToken = Callable[[Tensor], None]


def answer_nll(
    hidden: Tensor,
    positions: Tensor,
    targets: Tensor,
    head: nn.Module,
    softcap: float | None = None,
    each: EachToken | None = None,
) -> Tensor:
    """Summed negative log-likelihood of the supervised tokens, in float32.

    Only the hidden states that predict a supervised token go through the vocabulary head. The sum,
    not the mean, is returned: the caller divides by the token count of the whole optimiser step
    over all micro-batches and ranks (pitfalls C1 to C4).

    Args:
        hidden: (B, T, H) last hidden states.
        positions: (S,) flat indices into B*T.
        targets: (S,) token ids.
        head: the model's output embedding, H to V.
        softcap: the model's final logit soft-cap, if it has one (Gemma 2).
        each: called with the (S,) losses of the single tokens, detached.

    Returns:
        A scalar. With S = 0 it is zero and still connected to the graph, so that every rank has a
        backward pass.
    """
    selected = hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)
    if type(head) is nn.Linear and head.bias is None:
        total, single = head_nll(selected, head.weight, targets, softcap)
    else:
        logits = head(selected).float()
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        losses = functional.cross_entropy(logits, targets, reduction="none")
        total, single = losses.sum(), losses.detach()
    if each is not None:
        each(single)
    return total
