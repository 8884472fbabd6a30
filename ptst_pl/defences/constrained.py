"""Constrained SFT: the first tokens of an answer may not move far from the reference.

Qi et al. 2024, arXiv 2406.05946, section 4. With delta_t = log pi(y_t) - log pi_ref(y_t)::

    loss = sum_t -(2 / beta_t) log sigmoid(beta_t delta_t)

Its gradient is that of cross-entropy with the weights w_t = 2 (1 - sigmoid(beta_t delta_t)): 1 where the model is the
reference, towards 0 where it has become more certain than that. beta_t is large in the first places of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ptst_pl.defences.base import need_number
from ptst_pl.defences.loss_terms import LossDefence, Tokens


@dataclass
class ConstrainedSFT(LossDefence):
    """Token-wise constrained fine-tuning.

    Attributes:
        first: beta of an answer's first token.
        early: beta of the tokens up to ``early_tokens``.
        early_tokens: how many first tokens are guarded.
        later: beta of all others.
    """

    source: ClassVar[str] = "arXiv 2406.05946"
    first: float = 0.5
    early: float = 2.0
    early_tokens: int = 5
    later: float = 0.1

    def __post_init__(self) -> None:
        for name in ("first", "early", "later"):
            need_number(name, getattr(self, name), 1e-6)
        need_number("early_tokens", self.early_tokens, 1)

    def betas(self, places: Tensor) -> Tensor:
        """(S,) beta of every token, by its place in the answer."""
        beta = torch.where(places <= self.early_tokens, self.early, self.later)
        return torch.where(places == 1, self.first, beta)

    def loss(self, tokens: Tokens) -> Tensor:
        """See the module."""
        beta = self.betas(tokens.places)
        delta = tokens.reference_nll - tokens.nll
        return (-2 / beta * logsigmoid(beta * delta)).sum()
