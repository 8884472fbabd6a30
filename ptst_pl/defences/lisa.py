"""Lisa: alternate between the user's rows and safe ones, and stay near where the other state ended.

Huang et al. 2024, arXiv 2405.18641. In each state the loss has a proximal term to the weights at the last switch::

    user state, K2 steps:       min g(w) + rho/2 |w - w_guide|^2
    alignment state, K1 steps:  min h(w) + rho/2 |w - w_user|^2

The user's steps are the fit's own; after every K2 of them K1 further steps follow on the guide rows, at the same
learning rate, so a fit sees as many of the user's rows as without a defence. No proximal term in the first tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import Defence, Kind, copies, need_number
from ptst_pl.defences.guide_rows import GuideRows, second_task
from ptst_pl.defences.step import Step
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.tasks.base import Task


@dataclass
class Lisa(Defence):
    """Bi-state optimisation with a proximal term.

    Attributes:
        guide: a task with unsafe questions and safe answers.
        guide_steps: K1.
        user_steps: K2.
        rho: weight of the proximal term.
        batch_size: guide rows of a step.
        template: of the guide rows; default the training template.
    """

    kind: ClassVar[Kind] = "step"
    needs: ClassVar[tuple[str, ...]] = ("safety rows",)
    source: ClassVar[str] = "arXiv 2405.18641"
    keeps_weights: ClassVar[bool] = True
    whole: ClassVar[str] = "makes steps of its own, which need whole weights"
    copies: ClassVar[int] = 2
    guide: dict[str, Any] | str | None = None
    guide_steps: int = 2
    user_steps: int = 18
    rho: float = 1.0
    batch_size: int = 16
    template: str | None = None
    _rows: GuideRows | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("guide_steps", self.guide_steps)
        need_number("user_steps", self.user_steps, 1)
        need_number("rho", self.rho)
        need_number("batch_size", self.batch_size, 1)

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Read the guide rows."""
        rows = second_task(self.guide, "defence lisa: guide", task, self.template)
        self._rows = GuideRows(rows, self.batch_size, choose_path(net, "auto")[0], task.seed)

    def before_step(self, step: Step) -> None:
        """The proximal term of the user state."""
        if not self.kept:
            self.kept = copies(step.net)
        self._pull(step, self.kept)

    def after_step(self, step: Step) -> None:
        """After K2 user steps, the alignment state."""
        if step.number % self.user_steps or not self.guide_steps:
            return
        assert self._rows is not None
        switched = copies(step.net)
        first = (step.number // self.user_steps - 1) * self.guide_steps
        for number in range(first, first + self.guide_steps):
            step.backward(self._rows.batch(number, step.net))
            self._pull(step, switched)
            step.clip()
            step.optimizer.step()
        step.put({})
        self.kept = copies(step.net)

    @torch.no_grad()
    def _pull(self, step: Step, anchor: Mapping[str, Tensor]) -> None:
        if step.number * 10 <= step.total or not self.rho:
            return
        for name, parameter in step.parameters.items():
            if parameter.grad is not None:
                parameter.grad.add_(parameter - anchor[name], alpha=self.rho)
