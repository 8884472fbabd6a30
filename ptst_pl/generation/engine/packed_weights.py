"""Linear layers whose weights lie as a processor's kernels read them.

Few rows times many weights, which is what a decode step is, spends most of its time on bringing the weights into
that order, for every product again. While answers are made the weights do not change: they are brought there once,
as a copy. Sums are then taken in another order, so that a last digit may differ.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Iterator

import torch
from torch import Tensor, nn

# Of the copies; a larger model keeps its weights as they are.
MOST_BYTES = 2 * 2**30
# Rows that the order is chosen for; other numbers of rows gain as much.
ROWS = 64
_TYPES = (torch.float32, torch.bfloat16)


@contextlib.contextmanager
def packed(model: nn.Module) -> Iterator[None]:
    """The model's linear layers, packed, without gradients; unpacked afterwards. Changes nothing on a GPU."""
    layers = _layers(model) if _available() else []
    try:
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
            bias = None if layer.bias is None else layer.bias.detach()
            layer.forward = functools.partial(_product, weight, bias)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _available() -> bool:
    return platform.machine() in ("x86_64", "AMD64") and torch._C._has_mkldnn


def _layers(model: nn.Module) -> list[nn.Linear]:
    """Plain linear layers in memory; none if their copies would be too large."""
    found = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
        and module.weight.dtype in _TYPES
        and "forward" not in vars(module)
    ]
    return found if sum(layer.weight.nbytes for layer in found) <= MOST_BYTES else []


def _product(weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    """(..., N) from (..., K)."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found
