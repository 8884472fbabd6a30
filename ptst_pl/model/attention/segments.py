"""Attention over packed rows segment by segment, by PyTorch's scaled-dot-product attention: on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ptst_pl.tokenization.batches.layout import RowLayout


def by_segment(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: RowLayout,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
    dropout: float,
) -> list[Tensor]:
    """One (1, heads, size, D) for every segment."""
    sizes = [segment.size for segment in rows.segments]
    # Split, not sliced one by one: the backward pass is then one concatenation and not a sum of padded parts.
    queries, keys, values = (torch.split(part, sizes, 2) for part in (query, key, value))
    parts = []
    for number, segment in enumerate(rows.segments):
        own_keys, own_values = keys[number], values[number]
        if segment.prefix is not None:
            own_keys = torch.cat([keys[segment.prefix], own_keys], 2)
            own_values = torch.cat([values[segment.prefix], own_values], 2)
        mask = None
        if segment.prefix is not None or window is not None or softcap is not None:
            mask = _mask(rows, number, window, query.device)
        if softcap is None:
            part = _sdpa(queries[number], own_keys, own_values, mask, scaling, dropout)
        else:
            assert mask is not None
            part = _capped(queries[number], own_keys, own_values, mask, scaling, softcap, dropout)
        parts.append(part)
    return parts


def _sdpa(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, dropout: float
) -> Tensor:
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float, dropout: float
) -> Tensor:
    """Attention with scores held below ``softcap`` (Gemma 2, arXiv 2408.00118, section 2)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1, dtype=torch.float32).to(query.dtype)
    return functional.dropout(weights, dropout) @ value


def _mask(rows: RowLayout, number: int, window: int | None, device: torch.device) -> Tensor:
    """(size, prefix + size), True where a token may look: its prefix, and what is not behind it."""
    known = rows.masks.get((number, window))
    if known is None:
        before, size = rows.before(number), rows.segments[number].size
        own = torch.arange(before, before + size, device=device)[:, None]
        other = torch.arange(before + size, device=device)[None]
        known = (other <= own) if window is None else (other <= own) & (other > own - window)
        rows.masks[number, window] = known
    return known
