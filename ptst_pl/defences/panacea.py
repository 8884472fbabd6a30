"""Panacea: fine-tune so that a known perturbation undoes harm, and ship the perturbed weights.

Wang et al. 2025, arXiv 2501.18100. g is the loss of the step's rows, h that of a batch of harmful rows. One step::

    H   = grad h(w)
    eps = rho H / |H|
    H'  = grad min(h(w + eps), 5)
    gradient = grad g(w) - lambda (H' - H)

and after the last step w + eps is shipped. The norm is over all trained parameters and all ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import Defence, Kind, need_number
from ptst_pl.defences.guide_rows import GuideRows, second_task
from ptst_pl.defences.step import Step
from ptst_pl.model import trainable
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.tasks.base import Task

_TINY, _LIMIT = 1e-7, 5.0


@dataclass
class Panacea(Defence):
    """Three backward passes a step, and an edit of the weights at the end.

    Attributes:
        harmful: a task with harmful questions and answers, from the user.
        rho: 2-norm of the perturbation.
        weight: lambda.
        batch_size: harmful rows of a step.
    """

    kind: ClassVar[Kind] = "step"
    needs: ClassVar[tuple[str, ...]] = ("harmful rows",)
    source: ClassVar[str] = "arXiv 2501.18100"
    keeps_weights: ClassVar[bool] = True
    copies: ClassVar[int] = 4
    harmful: dict[str, Any] | str | None = None
    rho: float = 1.0
    weight: float = 1e-3
    batch_size: int = 8
    _rows: GuideRows | None = field(default=None, init=False, repr=False, compare=False)
    _finished: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("rho", self.rho)
        need_number("weight", self.weight)
        need_number("batch_size", self.batch_size, 1)

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Read the harmful rows."""
        rows = second_task(self.harmful, "defence panacea: harmful", task)
        self._rows = GuideRows(rows, self.batch_size, choose_path(net, "auto")[0], task.seed)

    def before_step(self, step: Step) -> None:
        """Change the gradient; the perturbation of this step is kept."""
        assert self._rows is not None
        batch, user = self._rows.batch(step.number - 1, step.net), step.take()
        step.backward(batch)
        scale = self.rho / (step.norm() + _TINY)
        harm = step.take()
        self.kept = {name: grad * scale for name, grad in harm.items()}
        before = {name: step.parameters[name].detach().clone() for name in harm}
        self._add(step.parameters)
        step.backward(batch, _LIMIT)
        moved = step.take()
        self._put_back(step.parameters, before)
        step.put({name: grad - self.weight * (moved[name] - harm[name]) for name, grad in user.items()})

    @contextlib.contextmanager
    def shipped(self, net: nn.Module) -> Iterator[None]:
        """With the perturbation of the last step."""
        if self._finished or not self.kept:
            yield
            return
        parameters = trainable(net)
        before = {name: parameters[name].detach().clone() for name in self.kept}
        self._add(parameters)
        try:
            yield
        finally:
            self._put_back(parameters, before)

    def finish(self, net: nn.Module) -> None:
        """Ship the perturbed weights; what they were is kept, so that the edit can be taken back exactly."""
        if self._finished or not self.kept:
            return
        parameters = trainable(net)
        before = {name: parameters[name].detach().clone() for name in self.kept}
        self._add(parameters)
        self.kept, self._finished = before, True

    def resume(self, net: nn.Module) -> None:
        """Take the edit back."""
        if self._finished:
            self._put_back(trainable(net), self.kept)
            self.kept, self._finished = {}, False

    def state(self) -> dict[str, Any]:
        """Whether the weights hold the edit."""
        return {"finished": self._finished}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._finished = bool(state["finished"])

    @torch.no_grad()
    def _add(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, eps in self.kept.items():
            parameters[name].add_(eps)

    @staticmethod
    @torch.no_grad()
    def _put_back(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)
