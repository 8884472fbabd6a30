"""KL to the reference: cross-entropy and a price for moving away from the model that training starts from.

    loss = sum_t [ -log pi(y_t) + lambda KL(pi_ref(. | t) || pi(. | t)) ]

With a target, lambda is steered so that the mean KL per token stays near it, as in Ziegler et al. 2019 (arXiv
1909.08593, section 2.2): lambda <- lambda (1 + gain clip(KL / target - 1, -0.2, 0.2)) after every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from ptst_pl.defences.base import need_number
from ptst_pl.defences.loss_terms import LossDefence, Tokens
from ptst_pl.defences.step import Step

_CLIP = 0.2


@dataclass
class KLToReference(LossDefence):
    """Cross-entropy with a KL anchor on every supervised token.

    Attributes:
        weight: lambda; where it is steered, its first value.
        target: KL per token to steer for, in nats; None keeps ``weight`` as it is.
        gain: how fast lambda follows.
    """

    source: ClassVar[str] = "arXiv 1909.08593 (control of lambda)"
    weight: float = 0.5
    target: float | None = None
    gain: float = 0.5
    _now: float = field(default=0.0, init=False, repr=False, compare=False)
    _seen: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("weight", self.weight)
        if self.target is not None:
            need_number("target", self.target, 1e-9)
        need_number("gain", self.gain)
        self._now = self.weight

    def loss(self, tokens: Tokens) -> Tensor:
        """See the module."""
        assert tokens.reference is not None
        ours, theirs = log_softmax(tokens.logits, -1), log_softmax(tokens.reference, -1)
        kl = kl_div(ours, theirs, reduction="none", log_target=True).sum()
        if self.target is not None:
            seen = torch.stack([kl.detach().double(), kl.new_tensor(len(tokens.targets), dtype=torch.float64)])
            self._seen = seen if self._seen is None else self._seen + seen
        return tokens.nll.sum() + self._now * kl

    def after_step(self, step: Step) -> None:
        """Steer lambda by the step's mean KL over all ranks."""
        if self._seen is None or self.target is None:
            return
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._seen)
        total, count = self._seen.tolist()
        self._seen = None
        error = min(max(total / max(count, 1) / self.target - 1, -_CLIP), _CLIP)
        self._now *= 1 + self.gain * error

    def state(self) -> dict[str, Any]:
        """Lambda as it stands."""
        return {"weight": self._now}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._now = float(state["weight"])
