"""Attention over packed rows in one call on a GPU: flash-attn, or PyTorch's own for rows of unequal length."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers.utils import is_flash_attn_2_available

from ptst_pl.model.attention.segments import by_segment
from ptst_pl.tokenization.batches.layout import RowLayout, Segment, lay_out

log = logging.getLogger(__name__)
Kernel = Literal["flash-attn", "varlen", "sdpa"]


class Unequal(NamedTuple):
    """Rows of unequal length, one behind the other, in the order of the kernels' own arguments.

    Attributes:
        query: (T, heads, D), the N segments' own tokens.
        key: (K, key heads, D), every segment preceded by its prefix.
        value: (K, key heads, D).
        query_ends: (N + 1,) int32, where the segments' queries end, beginning with 0.
        key_ends: (N + 1,) int32, where their keys end.
        longest_query: the most queries of a segment.
        longest_key: the most keys of a segment.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_ends: Tensor
    key_ends: Tensor
    longest_query: int
    longest_key: int


def in_one_call(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, rows: RowLayout
) -> Tensor:
    """(1, T, heads, D) by a kernel that aligns causality to the rows' ends; arguments as of ``row_attention``."""
    sizes = [segment.size for segment in rows.segments]
    prefixed = any(segment.prefix is not None for segment in rows.segments)
    queries, keys, values = (part.transpose(1, 2)[0] for part in (query, key, value))
    if prefixed:
        keys, values = _with_prefixes(keys, sizes, rows), _with_prefixes(values, sizes, rows)
    longest = max(size + rows.before(number) for number, size in enumerate(sizes))
    unequal = Unequal(queries, keys, values, rows.query_ends, rows.key_ends, max(sizes), longest)
    return _CALLS[kernel](unequal, scaling)[None]


def _with_prefixes(packed: Tensor, sizes: list[int], rows: RowLayout) -> Tensor:
    """Keys or values with every segment preceded by its prefix.

    Split and concatenated, not indexed: an index's gradient is summed in an order that changes from
    run to run on a GPU.
    """
    parts = torch.split(packed, sizes, 0)
    whole = []
    for segment, part in zip(rows.segments, parts, strict=True):
        whole += [part] if segment.prefix is None else [parts[segment.prefix], part]
    return torch.cat(whole, 0)


def _flash_attn(rows: Unequal, scaling: float | None) -> Tensor:
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]

    found = flash_attn_varlen_func(*rows, softmax_scale=scaling, causal=True)
    assert isinstance(found, Tensor)
    return found


def _varlen(rows: Unequal, scaling: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    groups = rows.query.shape[1] // rows.key.shape[1]
    if groups > 1:  # not every version takes fewer key heads than query heads
        key, value = rows.key.repeat_interleave(groups, 1), rows.value.repeat_interleave(groups, 1)
        rows = rows._replace(key=key, value=value)
    parameters = inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in parameters else {"is_causal": True}
    if "scale" in parameters:
        causal["scale"] = scaling
    elif scaling is not None:
        rows = rows._replace(query=rows.query * (scaling * rows.query.shape[-1] ** 0.5))
    found = varlen_attn(*rows, **causal)
    assert isinstance(found, Tensor)
    return found


_CALLS: dict[Kernel, Callable[[Unequal, float | None], Tensor]] = {"flash-attn": _flash_attn, "varlen": _varlen}


@functools.cache
def usable_kernel(device: torch.device, dtype: torch.dtype) -> Kernel:
    """The fastest kernel for packed rows that is installed, and that gives here what sdpa gives."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return "sdpa"
    kernels: list[Kernel] = ["flash-attn", "varlen"] if is_flash_attn_2_available() else ["varlen"]
    for kernel in kernels:
        try:
            if _agrees(kernel, device, dtype):
                return kernel
            log.warning("attention kernel %s gives other values than PyTorch's sdpa here and is not used", kernel)
        except (ImportError, RuntimeError, TypeError, ValueError) as error:
            log.info("attention kernel %s cannot be used here: %s", kernel, str(error).splitlines()[0])
    return "sdpa"


def _agrees(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Values and gradients of a small batch with and without a prefix: versions differ in where causality begins."""
    rows = lay_out([Segment(0, 5), Segment(5, 3, 0), Segment(8, 9, 0), Segment(17, 4)]).map(lambda t: t.to(device))
    draw = torch.Generator(device=device).manual_seed(0)
    inputs = [torch.randn(1, 4, 21, 64, generator=draw, device=device, dtype=dtype) for _ in range(3)]
    whole = _with_gradients(lambda q, k, v: in_one_call(kernel, q, k, v, 0.1, rows), inputs)
    parts = _with_gradients(
        lambda q, k, v: torch.cat(by_segment(q, k, v, rows, 0.1, None, None, 0.0), 2).transpose(1, 2), inputs
    )
    return all(torch.allclose(one, other, rtol=0.05, atol=0.05) for one, other in zip(whole, parts, strict=True))


@torch.enable_grad()
def _with_gradients(attend: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor]) -> list[Tensor]:
    query, key, value = (part.clone().requires_grad_() for part in inputs)
    output = attend(query, key, value)
    return [output, *torch.autograd.grad(output.float().square().sum(), (query, key, value))]
