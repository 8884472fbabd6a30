"""Gradients of plain and of sharded parameters: this rank's parts, their norm, clipping."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ptst_pl.model.sharding.fsdp import local_part


@torch.no_grad()
def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """This rank's parts of the gradients that there are; changing them in place changes the gradients."""
    return [local_part(parameter.grad) for parameter in parameters if parameter.grad is not None]


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """2-norm of all gradients together, of every rank's parts where they are sharded; stays on the device."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sharded = next((grad for grad in grads if isinstance(grad, DTensor)), None)
    norm = torch.nn.utils.get_total_norm([local_part(grad) for grad in grads])
    if sharded is None:
        return norm
    squares = norm.double().square()
    torch.distributed.all_reduce(squares, group=sharded.device_mesh.get_group())
    return squares.sqrt().to(norm.dtype)


@torch.no_grad()
def clip_to_norm(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients down to the norm ``limit``, without waiting for the device; returns the norm before."""
    parameters = list(parameters)
    norm = gradient_norm(parameters)
    grads = gradients(parameters)
    # As torch.nn.utils.clip_grad_norm_ does, to the bit.
    torch._foreach_mul_(grads, torch.clamp(limit / (norm + 1e-6), max=1.0))
    return norm


@torch.no_grad()
def clip_to_value(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Clamp every element of the gradients to ``[-limit, limit]``."""
    grads = gradients(parameters)
    torch._foreach_clamp_min_(grads, -limit)
    torch._foreach_clamp_max_(grads, limit)
