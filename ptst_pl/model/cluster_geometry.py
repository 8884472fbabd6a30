"""How hidden states of safe and unsafe prompts lie to each other, layer by layer.

After "What makes and breaks safety fine-tuning" (arXiv 2407.10264): separated clusters go with safety, and on unsafe
inputs the network's local Lipschitz constant is small. The refusal direction is the difference of means (2406.11717).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """One number per layer each.

    Attributes:
        direction: (layers, H) unit vectors from the mean of the safe to the mean of the unsafe states.
        separation: (layers,) see ``separation``.
        projection: (layers,) mean component of the unsafe states along a given direction, beside their mean norm.
        lipschitz_safe: (layers,) see ``local_lipschitz``; of the first layer NaN.
        lipschitz_unsafe: (layers,) the same.
    """

    direction: Tensor
    separation: Tensor
    projection: Tensor
    lipschitz_safe: Tensor
    lipschitz_unsafe: Tensor


def geometry(safe: Tensor, unsafe: Tensor, along: Tensor | None = None) -> Geometry:
    """Of two sets of prompts.

    Args:
        safe: (N, layers, H) hidden states.
        unsafe: (M, layers, H) hidden states.
        along: (layers, H) direction to project on; None: their own.
    """
    own = refusal_direction(safe, unsafe)
    wanted = own if along is None else along
    projected = (unsafe * wanted).sum(-1).mean(0) / unsafe.norm(dim=-1).mean(0).clamp(min=1e-9)
    return Geometry(own, separation(safe, unsafe), projected, local_lipschitz(safe), local_lipschitz(unsafe))


def refusal_direction(safe: Tensor, unsafe: Tensor) -> Tensor:
    """(layers, H) unit vectors: mean of the unsafe minus mean of the safe states."""
    return torch.nn.functional.normalize(unsafe.mean(0) - safe.mean(0), dim=-1)


def separation(safe: Tensor, unsafe: Tensor) -> Tensor:
    """(layers,) how much nearer states are to the mean of their own kind than to the other's, over both kinds.

    A share of the distance of the means: 0 where nobody could tell them apart, at most 1.
    """
    means = {"safe": safe.mean(0), "unsafe": unsafe.mean(0)}
    apart = (means["unsafe"] - means["safe"]).norm(dim=-1).clamp(min=1e-9)
    gains = []
    for states, near, far in ((safe, "safe", "unsafe"), (unsafe, "unsafe", "safe")):
        gains.append(((states - means[far]).norm(dim=-1) - (states - means[near]).norm(dim=-1)).mean(0))
    found: Tensor = (gains[0] + gains[1]) / 2 / apart
    return found


def place_between(states: Tensor, safe: Tensor, unsafe: Tensor) -> Tensor:
    """(layers,) where N states lie on average on the line of two means: 0 at that of ``safe``, 1 at that of ``unsafe``.

    Args:
        states: (N, layers, H).
        safe: (M, layers, H).
        unsafe: (K, layers, H).
    """
    start, line = safe.mean(0), unsafe.mean(0) - safe.mean(0)
    found: Tensor = ((states.mean(0) - start) * line).sum(-1) / line.square().sum(-1).clamp(min=1e-12)
    return found


def local_lipschitz(states: Tensor) -> Tensor:
    """(layers,) by how much a block stretches the distance of nearest neighbours, on average over the states.

    For each state its nearest other one in the layer below. NaN for the first layer, and for fewer than two states.
    """
    found = torch.full((states.shape[1],), float("nan"))
    if len(states) < 2:
        return found
    for layer in range(1, states.shape[1]):
        below, here = (torch.cdist(states[:, place], states[:, place]) for place in (layer - 1, layer))
        below.fill_diagonal_(float("inf"))
        nearest = below.argmin(1)
        rows = torch.arange(len(states))
        found[layer] = (here[rows, nearest] / below[rows, nearest].clamp(min=1e-9)).mean()
    return found
