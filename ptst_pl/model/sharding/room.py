"""Whether a device can hold a sharded model whole, as an evaluation needs it; asked before hours are spent."""

from __future__ import annotations

import torch
from torch import nn

from ptst_pl import InputError
from ptst_pl.model.sharding.fsdp import is_sharded, local_part


def check_room(model: nn.Module, compute: torch.dtype | None, device: torch.device) -> None:
    """Refuse evaluations of a sharded model that this rank's GPU cannot hold whole.

    Raises:
        InputError: it cannot; with the numbers, and what to do.
    """
    if not is_sharded(model) or device.type != "cuda":
        return
    total = torch.cuda.get_device_properties(device).total_memory
    problem = no_room(model, compute, torch.cuda.memory_allocated(device), total)
    if problem:
        raise InputError(problem)


def no_room(model: nn.Module, compute: torch.dtype | None, held: int, total: int) -> str:
    """Why a device of ``total`` bytes cannot hold the whole model; empty if it can.

    Args:
        model: sharded.
        compute: type of gathered float32 parameters; None for their own.
        held: bytes of the device that are taken, before the optimiser has its state.
        total: bytes of the device.
    """
    whole = sum(parameter.numel() * _size(parameter, compute) for parameter in model.parameters())
    state = sum(2 * 4 * local_part(parameter).numel() for parameter in model.parameters() if parameter.requires_grad)
    if whole + held + state <= total:
        return ""
    shown = (f"{number / 1e9:.1f} GB" for number in (whole, held + state, total))
    return (
        "safety: an evaluation gathers the whole model on every device: {} beside {} of shards and optimiser, and a "
        "device here has {}; train with --safety.active false and evaluate the exported model where it fits, or "
        "behind an endpoint"
    ).format(*shown)


def _size(parameter: nn.Parameter, compute: torch.dtype | None) -> int:
    return compute.itemsize if compute is not None and parameter.dtype == torch.float32 else parameter.element_size()
