"""Keys and values of the rows that are being answered: one slot per row, and one common prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class LayerShape(NamedTuple):
    """What one layer keeps of a token: ``heads`` keys of ``key`` numbers, and as many values of ``value``."""

    heads: int
    key: int
    value: int


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of a token.

    Attributes:
        layers: of every attention layer, by its number.
        dtype: of keys and values.
        device: where they are.
        windows: the sliding windows of the layers that have one.
    """

    layers: dict[int, LayerShape]
    dtype: torch.dtype
    device: torch.device
    windows: frozenset[int] = frozenset()

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in all layers."""
        numbers = sum(layer.heads * (layer.key + layer.value) for layer in self.layers.values())
        return numbers * self.dtype.itemsize


@dataclass
class SlotCache:
    """Keys and values of ``slots`` rows of at most ``length`` tokens behind a common prefix.

    Attributes:
        shape: the model's.
        slots: how many rows.
        length: tokens a row.
        keys: by layer, (slots, heads, length, D).
        values: by layer, (slots, heads, length, D).
        prefix_keys: by layer, (heads, P, D).
        prefix_values: by layer, (heads, P, D).
        prefix: P.
    """

    shape: CacheShape
    slots: int
    length: int
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    prefix_keys: dict[int, Tensor] = field(default_factory=dict)
    prefix_values: dict[int, Tensor] = field(default_factory=dict)
    prefix: int = 0

    def __post_init__(self) -> None:
        for number, layer in self.shape.layers.items():
            self.keys[number] = self._empty(layer.heads, layer.key)
            self.values[number] = self._empty(layer.heads, layer.value)

    def _empty(self, heads: int, size: int) -> Tensor:
        # Zeros, not whatever was there: a masked NaN times zero is still NaN.
        shape = (self.slots, heads, self.length, size)
        return torch.zeros(shape, dtype=self.shape.dtype, device=self.shape.device)

    def fits(self, shape: CacheShape, slots: int, length: int) -> bool:
        """Whether it can be used again for so many slots and tokens."""
        return shape == self.shape and slots <= self.slots and length <= self.length

    def forget_prefix(self) -> None:
        """Rows have no common prefix."""
        self.prefix_keys, self.prefix_values, self.prefix = {}, {}, 0

    def set_prefix(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keep a prefix's (1, heads, P, D) keys and values of one layer."""
        self.prefix_keys[layer], self.prefix_values[layer] = keys[0].contiguous(), values[0].contiguous()
        self.prefix = keys.shape[2]

    def write(self, layer: int, first: int, keys: Tensor, values: Tensor) -> None:
        """Put (B, heads, T, D) keys and values of one layer into the slots from ``first`` on."""
        rows, size = slice(first, first + len(keys)), keys.shape[2]
        self.keys[layer][rows, :, :size] = keys
        self.values[layer][rows, :, :size] = values

    def move(self, sources: Sequence[int], targets: Sequence[int], size: int) -> None:
        """Copy rows' first ``size`` tokens into other slots, all at the same time."""
        device = self.shape.device
        old, new = torch.tensor(sources).to(device), torch.tensor(targets).to(device)
        for tensors in (self.keys, self.values):
            for tensor in tensors.values():
                tensor[new, :, :size] = tensor[old, :, :size]
