"""Vocabulary head and cross-entropy in one function that never holds all logits at once.

The gradient of the loss is known as soon as the loss is, so both are found block by block in the
forward pass: memory is that of one block, and nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Bytes of one block's logits in float32, by device. Large enough for full matrix products, small beside the model.
BLOCK_BYTES = {"cpu": 32 << 20, "cuda": 1 << 28}
# A block's softmax is made in so many parts: on a processor each stays in its cache, and float32 is held of one only.
PARTS = 8


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
    found = _HeadLoss.apply(hidden, weight, targets, softcap, gradient, kind)  # type: ignore[no-untyped-call]
    return found[0], found[1]


class _HeadLoss(torch.autograd.Function):
    """See ``head_nll``; the gradients of the sum are found in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        softcap: float | None,
        gradient: bool,
        kind: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Block by block, with products in type ``kind``; gradients only where they are asked for."""
        by_hidden, by_weight = (gradient and needed for needed in ctx.needs_input_grad[:2])
        # Cast here, not before: autograd would round the gradients to ``kind`` and cast them back.
        states, matrix = hidden.to(kind), weight.to(kind)
        nll = torch.empty(len(states), dtype=torch.float32, device=states.device)
        hidden_grad = torch.empty_like(states) if by_hidden else None
        # In float32 over the blocks: in bfloat16 every block would round what the ones before it have summed.
        weight_grad = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if by_weight else None
        size = rows_per_block(len(weight), states.device)
        buffers = _Buffers(min(size, len(states)), matrix)
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            rows = states[part]
            logits = torch.mm(rows, matrix.t(), out=buffers.raw[: len(rows)])
            nll[part] = block_nll(logits, targets[part], softcap, by_hidden or by_weight, buffers)
            by_logits = logits  # by now
            if hidden_grad is not None:
                torch.mm(by_logits, matrix, out=hidden_grad[part])
            if weight_grad is not None:
                _add_product(weight_grad, by_logits.t(), rows)
        ctx.grads = [(hidden_grad, hidden.dtype), (weight_grad, weight.dtype)]
        ctx.mark_non_differentiable(nll)
        return nll.sum(), nll

    @staticmethod
    def backward(ctx: Any, by_sum: Tensor, by_each: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the sum, times that of what was made of it; they are used up."""
        if ctx.grads is None:
            raise RuntimeError("this loss has had its backward pass; compute it again for another one")
        grads, ctx.grads = ctx.grads, None
        found = [None if grad is None else grad.mul_(by_sum).to(kind) for grad, kind in grads]
        return *found, None, None, None, None


class _Buffers:
    """Memory of one block, for all blocks: fresh memory costs as much as a pass over it.

    Attributes:
        raw: (R, V) logits in the products' type, then the gradient by them.
        wide: (r, V) some rows' logits in float32; ``raw`` itself where that is float32.
        chances: (r, V) the same rows' probabilities in float32.
    """

    def __init__(self, rows: int, weight: Tensor) -> None:
        self.raw = weight.new_empty(rows, len(weight))
        self.chances = torch.empty_like(self.raw[: -(-rows // PARTS)], dtype=torch.float32)
        self.wide = self.raw if self.raw.dtype == torch.float32 else torch.empty_like(self.chances)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a float32 sum."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
        return
    # In parts: of each operand in another type PyTorch makes a copy, and a small one needs no fresh memory.
    for part, product in zip(torch.split(total, 4096), torch.split(left @ right, 4096), strict=True):
        part.add_(product)


def block_nll(raw: Tensor, targets: Tensor, softcap: float | None, gradient: bool, buffers: _Buffers) -> Tensor:
    """(R,) float32 losses of R rows of logits; the gradient of their sum takes the logits' place if it is asked for."""
    size = len(buffers.chances)
    parts = zip(torch.split(raw, size), torch.split(targets, size), strict=True)
    return torch.cat([_rows_nll(rows, own[:, None], softcap, gradient, buffers) for rows, own in parts])


def _rows_nll(raw: Tensor, own: Tensor, softcap: float | None, gradient: bool, buffers: _Buffers) -> Tensor:
    logits = raw if raw.dtype == torch.float32 else buffers.wide[: len(raw)].copy_(raw)
    slope = None
    if softcap is not None:
        logits.div_(softcap).tanh_()
        slope = 1 - logits.square()
        logits.mul_(softcap)
    chances = torch.softmax(logits, 1, out=buffers.chances[: len(raw)])
    # The largest logit's probability is one over the sum of all exponentials: no pass of our own for that sum.
    ahead = logits.amax(1, keepdim=True) - logits.gather(1, own)
    nll = (ahead - chances.amax(1, keepdim=True).log())[:, 0]
    if gradient:
        chances.scatter_add_(1, own, chances.new_full(own.shape, -1.0))
        raw.copy_(chances if slope is None else chances.mul_(slope))
    return nll
