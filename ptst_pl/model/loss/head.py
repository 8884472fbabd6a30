"""Vocabulary head and cross-entropy in one function that never holds all logits at once.

The gradient of the loss is known as soon as the loss is, so both are found block by block in the
forward pass: memory is that of one block, and nothing is computed twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

# Bytes of one block's logits in float32, by device. Large enough for full matrix products, small beside the model.
BLOCK_BYTES = {"cpu": 32 << 20, "cuda": 1 << 28}


class Block(NamedTuple):
    """Results of one block of R positions.

    Attributes:
        nll: (R,) float32.
        by_logits: (R, V) float32, the gradient of the summed loss by the logits, if it was asked for.
    """

    nll: Tensor
    by_logits: Tensor


def rows_per_block(vocabulary: int, device: torch.device) -> int:
    """Positions whose logits are held at once."""
    return max(16, BLOCK_BYTES.get(device.type, 1 << 28) // (4 * vocabulary))


def head_nll(hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None = None) -> tuple[Tensor, Tensor]:
    """Summed negative log-likelihood of S tokens, and that of each.

    The product with the weight is made in the weight's type, or in autocast's; the rest in float32.

    Args:
        hidden: (S, H) hidden states.
        weight: (V, H), the head's.
        targets: (S,) token ids.
        softcap: the model's final logit soft-cap, if it has one.

    Returns:
        A float32 scalar, and (S,) float32 losses without a gradient.
    """
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    gradient = torch.is_grad_enabled()
    found = _HeadLoss.apply(hidden.to(kind), weight.to(kind), targets, softcap, gradient)  # type: ignore[no-untyped-call]
    return found[0], found[1]


class _HeadLoss(torch.autograd.Function):
    """See ``head_nll``; the gradients of the sum are found in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None, gradient: bool
    ) -> tuple[Tensor, Tensor]:
        """Block by block; gradients only where they are asked for."""
        by_hidden, by_weight = (gradient and needed for needed in ctx.needs_input_grad[:2])
        nll = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        hidden_grad = torch.empty_like(hidden) if by_hidden else None
        # In float32 over the blocks: in bfloat16 every block would round what the ones before it have summed.
        weight_grad = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if by_weight else None
        size = rows_per_block(len(weight), hidden.device)
        # One buffer for all blocks: fresh memory costs as much as a pass over it.
        raw = hidden.new_empty(min(size, len(hidden)), len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            rows = hidden[part]
            logits = torch.mm(rows, weight.t(), out=raw[: len(rows)])
            block = block_nll(logits, targets[part], softcap, by_hidden or by_weight)
            nll[part] = block.nll
            by_logits = block.by_logits.to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(by_logits, weight, out=hidden_grad[part])
            if weight_grad is not None:
                _add_product(weight_grad, by_logits.t(), rows)
        ctx.kind = weight.dtype
        ctx.grads = hidden_grad, weight_grad
        ctx.mark_non_differentiable(nll)
        return nll.sum(), nll

    @staticmethod
    def backward(ctx: Any, by_sum: Tensor, by_each: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """The gradients of the sum, times that of what was made of it; they are used up."""
        if ctx.grads is None:
            raise RuntimeError("this loss has had its backward pass; compute it again for another one")
        (by_hidden, by_weight), ctx.grads = ctx.grads, None
        found = [None if grad is None else grad.mul_(by_sum).to(ctx.kind) for grad in (by_hidden, by_weight)]
        return found[0], found[1], None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a float32 sum."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def block_nll(raw: Tensor, targets: Tensor, softcap: float | None, gradient: bool) -> Block:
    """Losses and gradient from logits, whose memory is used up."""
    logits = raw.float()  # the product in the weights' type, the softmax in float32
    slope = None
    if softcap is not None:
        logits.div_(softcap).tanh_()
        slope = 1 - logits.square()
        logits.mul_(softcap)
    own = targets[:, None]
    logits.sub_(logits.amax(1, keepdim=True))
    chosen = logits.gather(1, own)
    total = logits.exp_().sum(1, keepdim=True)
    nll = (total.log() - chosen)[:, 0]
    if gradient:
        logits.div_(total).scatter_add_(1, own, logits.new_full(own.shape, -1.0))
        if slope is not None:
            logits.mul_(slope)
    return Block(nll, logits)
