"""SPPFT: the layers that tell unsafe requests from safe ones are not trained.

Li et al. 2024, arXiv 2408.17003. Where the layers are, the angle between hidden states shows: of the last token of two
safe prompts, and of a safe and an unsafe one. In the layers where the second angle grows beyond the first, the model
tells them apart. ``ptst_pl defences layers`` draws that curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind
from ptst_pl.model.hidden_states import last_token_states
from ptst_pl.model.sharding import decoder_blocks
from ptst_pl.tasks.base import Task


@dataclass
class SPPFT(Defence):
    """Freeze a block of layers.

    Attributes:
        layers: first and last frozen layer, counted from 0.
    """

    kind: ClassVar[Kind] = "parameters"
    source: ClassVar[str] = "arXiv 2408.17003"
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        fine = isinstance(self.layers, list) and len(self.layers) == 2 and 0 <= self.layers[0] <= self.layers[1]
        if not fine:
            raise InputError(
                f"defence sppft: layers is {self.layers!r}, expected the first and the last layer to freeze, such as "
                "[6, 12]; 'ptst_pl defences layers' shows where they are"
            )

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Freeze them."""
        assert self.layers is not None
        first, last = self.layers
        blocks = decoder_blocks(net)
        if last >= len(blocks):
            raise InputError(f"defence sppft: layers is {self.layers}, but the model has layers 0 to {len(blocks) - 1}")
        if last - first + 1 == len(blocks):
            raise InputError(f"defence sppft: layers {self.layers} are all the model has; nothing would be trained")
        for block in blocks[first : last + 1]:
            block.requires_grad_(False)


def cosine_curve(model: nn.Module, safe: list[list[int]], unsafe: list[list[int]], pad_id: int) -> list[float]:
    """Of every layer, how much larger the mean angle between safe and unsafe prompts is than between safe ones.

    Args:
        model: in any mode.
        safe: token ids of N >= 2 safe prompts.
        unsafe: token ids of N unsafe prompts.
        pad_id: to pad with.

    Returns:
        Radians per layer, from the first block's output on.
    """
    calm, other = (last_token_states(model, prompts, pad_id) for prompts in (safe, unsafe))
    found = []
    for layer in range(calm.shape[1]):
        own, theirs = calm[:, layer], other[:, layer]
        among = torch.triu_indices(len(own), len(own), 1)
        within = _angles(own[among[0]], own[among[1]]).mean()
        between = _angles(own[:, None].expand(-1, len(theirs), -1), theirs[None].expand(len(own), -1, -1)).mean()
        found.append(float(between - within))
    return found


def _angles(one: Tensor, other: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(one, other, dim=-1).clamp(-1, 1).acos()


def layer_figure(gaps: list[float], width: int = 40) -> str:
    """The curve as text, one bar a layer, and the block of layers where the gap grows fastest."""
    top = max(max(gaps), 1e-9)
    bars = [f"layer {n:>3}  {gap:6.3f} rad  {'#' * round(max(gap, 0) / top * width)}" for n, gap in enumerate(gaps)]
    first, last = growing_block(gaps)
    return "\n".join([*bars, f"the gap grows from layer {first} to {last}: layers: [{first}, {last}]"])


def growing_block(gaps: list[float]) -> tuple[int, int]:
    """The longest run of layers over which the gap grows from a tenth to nine tenths of its largest value."""
    top = max(gaps)
    first = next((n for n, gap in enumerate(gaps) if gap >= 0.1 * top), 0)
    last = next((n for n, gap in enumerate(gaps) if gap >= 0.9 * top), len(gaps) - 1)
    return first, max(first, last)
