"""Defences that change the loss: they see the log-probabilities of every supervised token, and the reference's."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional

from ptst_pl.defences.base import Defence, Kind
from ptst_pl.model import Method
from ptst_pl.model.loss import EachToken
from ptst_pl.model.network import token_logits
from ptst_pl.model.sharding import in_root
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization.batches import Batch


class Tokens(NamedTuple):
    """The S supervised tokens of a micro-batch.

    Attributes:
        logits: (S, V) float32.
        nll: (S,) float32, the negative log-likelihood of the tokens.
        targets: (S,) int64, the tokens.
        places: (S,) int64, every token's place in its answer, counted from 1.
        reference: (S, V) float32, the reference model's logits; None where the defence asks for none.
    """

    logits: Tensor
    nll: Tensor
    targets: Tensor
    places: Tensor
    reference: Tensor | None

    @property
    def reference_nll(self) -> Tensor:
        """(S,) the reference's negative log-likelihood of the tokens."""
        assert self.reference is not None
        return functional.cross_entropy(self.reference, self.targets, reduction="none")


@dataclass
class LossDefence(Defence):
    """Replaces the loss of a micro-batch. The reference is the model that training starts from.

    Under LoRA the reference is the trained model itself with its adapters off; in full fine-tuning it is a frozen copy,
    which takes the memory of the weights once more. It reads the very rows of the step, so it always sees the
    student's own template.
    """

    kind: ClassVar[Kind] = "loss"
    needs: ClassVar[tuple[str, ...]] = ("reference",)
    needs_reference: ClassVar[bool] = True
    _copy: list[nn.Module] = field(default_factory=list, init=False, repr=False, compare=False)

    @abstractmethod
    def loss(self, tokens: Tokens) -> Tensor:
        """The summed loss of the tokens; the step divides it by their number over all micro-batches and ranks."""

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Keep a frozen copy of what is fine-tuned in full."""
        if self.needs_reference and not isinstance(net, PeftModel):
            self._copy = [copy.deepcopy(net).eval().requires_grad_(False)]

    def copies_model(self, method: Method) -> bool:
        """In full fine-tuning."""
        return self.needs_reference and method == "full"

    def extra_models(self) -> list[nn.Module]:
        """The frozen copy."""
        return self._copy

    def reference_logits(self, net: nn.Module, batch: Batch) -> Tensor | None:
        """(S, V) of the reference, without a gradient."""
        if not self.needs_reference:
            return None
        with torch.no_grad():
            if self._copy:
                return in_root(token_logits, self._copy[0], batch)
            assert isinstance(net, PeftModel)
            training = net.training
            net.eval()  # no dropout: the reference is one and the same
            try:
                with net.disable_adapter():
                    return in_root(token_logits, net, batch)
            finally:
                net.train(training)

    def batch_loss(self, net: nn.Module, batch: Batch, each: EachToken | None) -> Tensor:
        """The micro-batch's summed loss.

        Args:
            net: the trained model.
            batch: a micro-batch.
            each: called with the (S,) plain losses of the single tokens, detached.
        """
        reference = self.reference_logits(net, batch)
        logits = in_root(token_logits, net, batch)
        nll = functional.cross_entropy(logits, batch.targets, reduction="none")
        if each is not None:
            each(nll.detach())
        return self.loss(Tokens(logits, nll, batch.targets, batch.places, reference))
