"""EMA of weights: an average over the steps is what is evaluated and shipped; training itself is left alone.

Reported to keep safety in arXiv 2508.12531. After step k: average <- d average + (1 - d) w_k, beginning with w_0.
Lightning's ``EMAWeightAveraging`` swaps whole state dicts; here only trained parameters are kept, sharded as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import Defence, Kind, copies, need_number
from ptst_pl.defences.step import Step
from ptst_pl.model import trainable
from ptst_pl.tasks.base import Task


@dataclass
class EMA(Defence):
    """Ship an exponential moving average.

    Attributes:
        decay: d; 0 ships the last weights, 1 those that training starts from.
    """

    kind: ClassVar[Kind] = "step"
    source: ClassVar[str] = "arXiv 2508.12531"
    keeps_weights: ClassVar[bool] = True
    copies: ClassVar[int] = 2
    decay: float = 0.95
    _finished: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("decay", self.decay, 0, 1)

    def prepare(self, net: nn.Module, task: Task) -> None:
        """The average begins with the weights at hand, once they are where they are trained."""
        self.kept = {}

    def before_step(self, step: Step) -> None:
        """The first step finds the weights that training starts from."""
        if not self.kept:
            self.kept = copies(step.net)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Average the new weights in."""
        for name, average in self.kept.items():
            average.mul_(self.decay).add_(step.parameters[name], alpha=1 - self.decay)

    @contextlib.contextmanager
    def shipped(self, net: nn.Module) -> Iterator[None]:
        """With the average."""
        if self._finished or not self.kept:
            yield
            return
        before = copies(net)
        _put(net, self.kept)
        try:
            yield
        finally:
            _put(net, before)

    def finish(self, net: nn.Module) -> None:
        """Ship the average; the trained weights are kept, so that training can go on."""
        if self.kept and not self._finished:
            self._swap(net)
            self._finished = True

    def resume(self, net: nn.Module) -> None:
        """Go on with the trained weights."""
        if self._finished:
            self._swap(net)
            self._finished = False

    def _swap(self, net: nn.Module) -> None:
        before = copies(net)
        _put(net, self.kept)
        self.kept = before

    def state(self) -> dict[str, Any]:
        """Whether the weights are the average."""
        return {"finished": self._finished}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._finished = bool(state["finished"])


@torch.no_grad()
def _put(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, parameter in trainable(net).items():
        parameter.copy_(values[name])
