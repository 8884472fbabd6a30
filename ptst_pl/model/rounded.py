"""Float32 weights in a lower precision while answers are generated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ptst_pl.model.sharding import computing_type, is_sharded


@contextlib.contextmanager
def rounded(model: nn.Module, precision: str) -> Iterator[None]:
    """The parameters in the type that training computes in; afterwards they are the same tensors as before.

    Under ``bf16-mixed`` a float32 model answers in bfloat16, as sharded weights do once they are gathered, and as what
    is exported in bfloat16 does. Takes a second, rounded copy of what is in float32. Sharded models are left alone.

    Args:
        model: with or without adapters; its tied parameters stay tied.
        precision: ``trainer.precision``.
    """
    kind = computing_type(precision) if precision.endswith("-mixed") else None
    if kind is None or is_sharded(model):
        yield
        return
    own: dict[nn.Parameter, Tensor] = {p: p.data for p in model.parameters() if p.dtype == torch.float32}
    try:
        for parameter, exact in own.items():
            parameter.data = exact.to(kind)
        yield
    finally:
        for parameter, exact in own.items():
            parameter.data = exact
