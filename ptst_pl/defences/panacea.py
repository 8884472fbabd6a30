"""Panacea: fine-tune so that a known perturbation undoes harm, and ship the perturbed weights.

Wang et al. 2025, arXiv 2501.18100. g is the loss of the step's rows, h that of a batch of harmful rows. One step::

    H   = grad h(w)
    eps = rho H / |H|
    H'  = grad min(h(w + eps), 5)
    gradient = grad g(w) - lambda (H' - H)

and after the last step w + eps is shipped. The norm is over all trained parameters and all ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import need_number
from ptst_pl.defences.guide_rows import GuideRows, second_task
from ptst_pl.defences.shipping import ShipsOtherWeights
from ptst_pl.defences.step import Step
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.tasks.base import Task

_TINY, _LIMIT = 1e-7, 5.0


@dataclass
class Panacea(ShipsOtherWeights):
    """Three backward passes a step, and an edit of the weights at the end.

    Attributes:
        harmful: a task with harmful questions and answers, from the user.
        rho: 2-norm of the perturbation.
        weight: lambda.
        batch_size: harmful rows of a step.
    """

    needs: ClassVar[tuple[str, ...]] = ("harmful rows",)
    source: ClassVar[str] = "arXiv 2501.18100"
    copies: ClassVar[int] = 4
    harmful: dict[str, Any] | str | None = None
    rho: float = 1.0
    weight: float = 1e-3
    batch_size: int = 8
    _rows: GuideRows | None = field(default=None, init=False, repr=False, compare=False)

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

    def to_ship(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """With the perturbation of the last step."""
        return {name: parameters[name] + eps for name, eps in self.kept.items()}

    @torch.no_grad()
    def _add(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, eps in self.kept.items():
            parameters[name].add_(eps)

    @staticmethod
    @torch.no_grad()
    def _put_back(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)
