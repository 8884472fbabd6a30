"""Attention over packed rows: every row sees itself alone, whatever lies beside it in the batch.

Registered with transformers under the name ``ptst_rows``; a model that uses it gets the layout of the
batch with every call, as the keyword ``rows``. On a CPU, and where nothing better is at hand, it is
PyTorch's scaled-dot-product attention segment by segment; on a GPU in half precision one call of
flash-attn, or of PyTorch's own variable-length attention.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from ptst_pl.model.attention.kernels import in_one_call, usable_kernel
from ptst_pl.model.attention.segments import by_segment
from ptst_pl.tokenization.batches.layout import RowLayout, Segment

NAME = "ptst_rows"
Padded = Literal["padded"]
_NONE = torch.empty(0, dtype=torch.int32)  # the ends of rows that no kernel asks for


def row_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    rows: RowLayout | Padded | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer over a packed batch of T tokens, or over B rows padded on the right to T tokens.

    Args:
        module: the layer; not used.
        query: (B, heads, T, D); B is 1 where the rows are packed.
        key: (B, key heads, T, D).
        value: (B, key heads, T, D).
        attention_mask: not used, the layout says who sees whom.
        dropout: share of dropped attention weights.
        scaling: factor of the scores.
        sliding_window: a token sees itself and so many tokens before it, less one; None: all.
        softcap: limit of the scores (Gemma 2).
        rows: the batch's layout, or ``padded``.
        ignored: what other implementations need.

    Returns:
        (B, T, heads, D), and no weights.

    Raises:
        RuntimeError: the model did not pass the layout on.
    """
    if rows is None:
        raise RuntimeError("the model does not hand the rows' layout to its attention")
    # Padding on the right needs no mask: no token looks behind itself. (And asking for one waits for the GPU.)
    layout = RowLayout((Segment(0, query.shape[2]),), _NONE, _NONE) if rows == "padded" else rows
    window = _needed(sliding_window, layout)
    kind = _autocast_type(query.device.type)
    kernel = "sdpa" if rows == "padded" else usable_kernel(query.device, kind or query.dtype)
    if kind is not None:
        if kernel == "sdpa" and query.device.type == "cpu":
            kind = torch.float32  # in which a processor's backward pass is a quarter faster than in bfloat16
        # In one type: rotated by float32 angles, queries and keys are float32, which no fast kernel takes.
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
    if kernel != "sdpa" and window is None and softcap is None and not dropout:
        return in_one_call(kernel, query, key, value, scaling, layout), None
    with torch.autocast(query.device.type, enabled=False):  # which has a type of its own for this call
        parts = by_segment(query, key, value, layout, scaling, window, softcap, dropout)
    return torch.cat(parts, 2).transpose(1, 2), None


AttentionInterface.register(NAME, row_attention)  # type: ignore[no-untyped-call]


def _autocast_type(device: str) -> torch.dtype | None:
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _needed(window: int | None, rows: RowLayout) -> int | None:
    """None where no row is longer than the window."""
    longest = max(segment.size + rows.before(number) for number, segment in enumerate(rows.segments))
    return None if window is None or longest <= window else window
