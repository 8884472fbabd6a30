"""FSDP2 for a Hugging Face model, and what has to know that its weights are sharded.

One group of parameters per decoder block, the rest (embedding, last norm, head) in the root's group.
The root is the causal language model itself, below any adapters, because the adapters live in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from ptst_pl.model import causal_lm
from ptst_pl.model.sharding.blocks import decoder_blocks

R = TypeVar("R")


def computing_type(precision: str) -> torch.dtype | None:
    """What ``trainer.precision`` makes of float32 shards when they are gathered."""
    return torch.bfloat16 if precision.startswith("bf16") else None


def shard(model: nn.Module, mesh: DeviceMesh, compute: torch.dtype | None) -> str:
    """Share the parameters out over ``mesh``, after adapters have been added (pitfall E1).

    The whole model is expected on the CPU of every rank: a block goes to the device when its turn comes and only this
    rank's part of it stays there, so that no device ever holds more than one whole group.

    Args:
        model: with or without adapters; changed in place.
        mesh: one-dimensional.
        compute: type of the gathered parameters and of the computation, for float32 shards (pitfall E9);
            None computes in each parameter's own type. Gradients are summed in float32.

    Returns:
        One line for the log.
    """
    inner, blocks = causal_lm(model), decoder_blocks(model)
    # Inputs are not cast: they come in the right type, and would be copied, with all that layers share, for each block.
    reduced = torch.float32 if compute else None
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=reduced, cast_forward_inputs=False)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    # The head is in this group, which stays gathered from its first use to the end of the backward pass (pitfall E5).
    fully_shard(inner, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    setattr(inner, "in_root", _call)  # noqa: B010
    register_fsdp_forward_method(inner, "in_root")
    kept = sum(local_part(parameter).numel() for parameter in model.parameters())
    form = f", gathered as {str(compute).removeprefix('torch.')}" if compute else ""
    return f"FSDP2 over {mesh.size()} ranks: {len(blocks)} blocks and the root{form}; {kept} parameters on this rank"


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def in_root(function: Callable[..., R], model: nn.Module, *args: Any) -> R:
    """``function(model, *args)`` as a forward pass of the root: its parameters are gathered for it."""
    root: Any = causal_lm(model)
    found: R = root.in_root(function, model, *args) if is_sharded(model) else function(model, *args)
    return found


def is_sharded(model: nn.Module) -> bool:
    """Whether ``shard`` was applied."""
    return isinstance(causal_lm(model), FSDPModule)


@contextlib.contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """All parameters whole on every rank, so that forward passes inside need no other rank (pitfalls D1 to D3).

    Entered and left by all ranks together; between that each may do as many passes as it likes. Takes the
    memory of the whole model in its computing type. Does nothing to a model that is not sharded.
    """
    if not is_sharded(model):
        yield
        return
    root: Any = causal_lm(model)
    groups: list[Any] = [module for module in root.modules() if isinstance(module, FSDPModule)]
    for group in groups:
        group.unshard()
        group.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for group in groups:
            group.set_reshard_after_forward(group is not root, recurse=False)
            group.reshard()


def whole_state(model: nn.Module, names: Iterable[str], keep: bool) -> dict[str, Tensor]:
    """Entries of ``model.state_dict()`` as plain tensors on the CPU, gathered one after the other.

    A call of all ranks together. Tied entries stay one tensor.

    Args:
        model: sharded or not.
        names: which entries.
        keep: False gives an empty dictionary: this rank only takes part.
    """
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    seen: dict[int, Tensor] = {}
    for name in names:
        value = state[name]
        if id(value) not in seen:
            whole = (value.full_tensor() if isinstance(value, DTensor) else value).detach()
            seen[id(value)] = whole.cpu() if keep else torch.empty(0)
    return {name: seen[id(state[name])] for name in names} if keep else {}


def local_part(tensor: Tensor) -> Tensor:
    """This rank's part, without a copy."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
