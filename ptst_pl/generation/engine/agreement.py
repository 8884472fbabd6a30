"""How far two ways to one model's logits may be apart."""

from __future__ import annotations

import torch
from torch import Tensor

# Share of the largest logit: another order of summing, not another computation.
FLOAT32, HALF = 1e-3, 5e-2


def disagreement(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> str:
    """How much logits of the same shape differ, if that is more than rounding in ``dtype``; empty if not.

    NaN agrees with nothing.
    """
    tolerance = FLOAT32 if dtype == torch.float32 else HALF
    difference, size = float((ours.float() - theirs.float()).abs().max()), float(theirs.float().abs().max())
    return "" if difference <= tolerance * max(size, 1e-3) else f"by {difference:.3g}, of {size:.3g}"
