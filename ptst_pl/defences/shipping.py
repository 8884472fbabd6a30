"""Defences that ship other weights than they train: what is evaluated, left at the end, and taken back to go on."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import Defence, Kind
from ptst_pl.model import trainable


@dataclass
class ShipsOtherWeights(Defence):
    """While a fit goes on, ``kept`` is what the shipped weights are made from; once it is over, the trained weights."""

    kind: ClassVar[Kind] = "step"
    keeps_weights: ClassVar[bool] = True
    _finished: bool = field(default=False, init=False, repr=False, compare=False)

    @abstractmethod
    def to_ship(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The values that would be shipped now, of the parameters that differ; called with ``kept`` filled."""

    def going_on(self, shipped: dict[str, Tensor]) -> dict[str, Tensor]:
        """``kept`` when a finished fit goes on, from the weights that it had shipped."""
        return {}

    @contextlib.contextmanager
    def shipped(self, net: nn.Module) -> Iterator[None]:
        """With the weights to ship, for an evaluation."""
        if self._finished or not self.kept:
            yield
            return
        before = self._exchange(net)
        try:
            yield
        finally:
            _put(net, before)

    def finish(self, net: nn.Module) -> None:
        """Leave the weights to ship; the trained ones are kept, so that all of it can be taken back to the bit."""
        if not self._finished and self.kept:
            self.kept, self._finished = self._exchange(net), True

    def resume(self, net: nn.Module) -> None:
        """Go on with the trained weights."""
        if self._finished:
            shipped = {name: trainable(net)[name].detach().clone() for name in self.kept}
            _put(net, self.kept)
            self.kept, self._finished = self.going_on(shipped), False

    def _exchange(self, net: nn.Module) -> dict[str, Tensor]:
        """Put the weights to ship in place; returns what was there."""
        parameters = trainable(net)
        with torch.no_grad():
            wanted = self.to_ship(parameters)
        before = {name: parameters[name].detach().clone() for name in wanted}
        _put(net, wanted)
        return before

    def state(self) -> dict[str, Any]:
        """Whether the weights are the shipped ones."""
        return {"finished": self._finished}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._finished = bool(state["finished"])


@torch.no_grad()
def _put(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    parameters = trainable(net)
    for name, value in values.items():
        parameters[name].copy_(value)
