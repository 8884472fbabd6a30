"""Attention of the decoding engine: new tokens are stored in their slots and see prefix, slot and themselves.

Registered with transformers under the name ``ptst_slots``. A model that uses it is called without a
cache of transformers; every layer hands its new keys and values to the pass that comes with the call
as keyword ``slots``. So the modules themselves run, whatever the family, and nothing builds masks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from ptst_pl.generation.engine.cache import SlotCache

NAME = "ptst_slots"


@dataclass(frozen=True)
class Form:
    """How a layer attends.

    Attributes:
        scaling: factor of the scores.
        window: a token sees itself and so many tokens before it, less one; None: all.
        softcap: limit of the scores (Gemma 2, arXiv 2408.00118, section 2).
    """

    scaling: float
    window: int | None = None
    softcap: float | None = None


class Pass(ABC):
    """One forward pass of the model: what its layers do with their keys and values."""

    @abstractmethod
    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """(B, T, heads, D) from (B, heads, T, D) queries and (B, key heads, T, D) keys and values."""


def slot_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    slots: Pass | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer, by the pass; see ``Pass.attend`` for the shapes.

    Raises:
        RuntimeError: the model did not pass the keyword on.
    """
    if slots is None:
        raise RuntimeError("the model does not hand the slots to its attention")
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    return slots.attend(int(module.layer_idx), query, key, value, Form(scaling, sliding_window, softcap)), None  # type: ignore[arg-type]


AttentionInterface.register(NAME, slot_attention)  # type: ignore[no-untyped-call]


@dataclass
class PrefixPass(Pass):
    """The common prefix of all rows: (1, P) tokens, kept once."""

    cache: SlotCache
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """See ``Pass``."""
        self.cache.set_prefix(layer, key, value)
        return _causal(query, key, value, form, 0, self.masks)


@dataclass
class PrefillPass(Pass):
    """What is behind the prefix in B prompts, padded on the right to T tokens.

    Attributes:
        cache: where it is kept.
        first: slot of the first row.
        sources: (slots filled,) of every slot the row of the batch that fills it; None: row by row.
    """

    cache: SlotCache
    first: int
    sources: Tensor | None = None
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """See ``Pass``."""
        if self.sources is None:
            self.cache.write(layer, self.first, key, value)
        else:
            self.cache.write(layer, self.first, key[self.sources], value[self.sources])
        before = self.cache.prefix
        if before:
            rows = len(key)
            key = torch.cat([self.cache.prefix_keys[layer].expand(rows, -1, -1, -1), key], 2)
            value = torch.cat([self.cache.prefix_values[layer].expand(rows, -1, -1, -1), value], 2)
        return _causal(query, key, value, form, before, self.masks)


def _causal(
    query: Tensor, key: Tensor, value: Tensor, form: Form, before: int, masks: dict[int | None, Tensor]
) -> Tensor:
    """(B, T, heads, D): token t sees the ``before`` first keys and those of its row up to itself."""
    window = form.window if form.window is not None and form.window < key.shape[2] else None
    if not before and window is None and form.softcap is None:
        mask = None
    else:
        if window not in masks:
            masks[window] = _sight(query.shape[2], before, window, query.device)
        mask = masks[window]
    if form.softcap is not None:
        assert mask is not None
        return _capped(query, key, value, mask, form, form.softcap)
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.is_cuda:  # with a mask, only the kernel that keeps all scores shares key heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    found = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=form.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found.transpose(1, 2)


def _sight(tokens: int, before: int, window: int | None, device: torch.device) -> Tensor:
    """(T, before + T), True where a token may look."""
    own = torch.arange(before, before + tokens, device=device)[:, None]
    other = torch.arange(before + tokens, device=device)[None]
    return (other <= own) if window is None else (other <= own) & (other > own - window)


def _capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, form: Form, cap: float) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = cap * torch.tanh(query @ key.transpose(2, 3) * (form.scaling / cap))
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).transpose(1, 2)
