"""Objectives of safety tuning that look at unsafe answers too, beside the loss on the task's own rows.

After "What Makes and Breaks Safety Fine-tuning?" (arXiv 2407.10264). With L_safe the loss on declined requests and
L_unsafe that on the same requests' answers, a token's mean over a batch each::

    unlearning:  L - w L_unsafe
    preference:  L - s log sigmoid(b (R_safe - L_safe) - c (R_unsafe - L_unsafe))

L is the loss of the step on the task's rows, and R are the losses of the model that training began with, as in DPO.
The release uses w = b = 0.1 and c = 0.01. Named in a config by class path; they are for models that are being aligned.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl.defences.base import Defence, Kind, need_number
from ptst_pl.defences.guide_rows import GuideRows, second_task
from ptst_pl.defences.step import Step
from ptst_pl.model import Method, batch_nll
from ptst_pl.model.batch_paths import Batching, choose_path
from ptst_pl.model.sharding import in_root
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization.batches import Batch


@dataclass
class Unlearning(Defence):
    """Move away from unsafe answers.

    Attributes:
        unsafe: a task with unsafe requests and their answers.
        weight: w.
        limit: a loss on unsafe answers above it is left alone, as it would grow without end.
        batch_size: unsafe rows of a step.
        batching: how they become batches, as ``model.batching``.
    """

    kind: ClassVar[Kind] = "step"
    needs: ClassVar[tuple[str, ...]] = ("harmful rows",)
    source: ClassVar[str] = "arXiv 2407.10264"
    copies: ClassVar[int] = 1
    unsafe: dict[str, Any] | str | None = None
    weight: float = 0.1
    limit: float = 10.0
    batch_size: int = 32
    batching: Batching = "auto"
    _rows: GuideRows | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("weight", self.weight)
        need_number("limit", self.limit)
        need_number("batch_size", self.batch_size, 1)

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Read the unsafe rows."""
        self._rows = _rows(self, self.unsafe, "unsafe", net, task)

    def before_step(self, step: Step) -> None:
        """Subtract the gradient of the loss on unsafe answers."""
        assert self._rows is not None
        own = step.take()
        step.backward(self._rows.batch(step.number - 1, step.net), limit=self.limit)
        _add(own, step.take(), -self.weight)
        step.put(own)


@dataclass
class Preference(Defence):
    """Prefer declining to answering, against the model that training began with.

    Attributes:
        safe: a task with unsafe requests and answers that decline them.
        unsafe: a task with the same requests, in the same order, and their answers.
        scale: s.
        beta_safe: b.
        beta_unsafe: c.
        batch_size: pairs of a step.
        batching: how they become batches, as ``model.batching``.
    """

    kind: ClassVar[Kind] = "step"
    needs: ClassVar[tuple[str, ...]] = ("safety rows", "harmful rows", "reference")
    source: ClassVar[str] = "arXiv 2407.10264"
    whole: ClassVar[str] = "keeps a copy of the model"
    copies: ClassVar[int] = 1
    safe: dict[str, Any] | str | None = None
    unsafe: dict[str, Any] | str | None = None
    scale: float = 1.0
    beta_safe: float = 0.1
    beta_unsafe: float = 0.01
    batch_size: int = 32
    batching: Batching = "auto"
    _rows: list[GuideRows] = field(default_factory=list, init=False, repr=False, compare=False)
    _copy: list[nn.Module] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("scale", "beta_safe", "beta_unsafe"):
            need_number(name, getattr(self, name))
        need_number("batch_size", self.batch_size, 1)

    def copies_model(self, method: Method) -> bool:
        """Whatever the method: the reference is the model with its fresh adapters."""
        return True

    def extra_models(self) -> list[nn.Module]:
        """The reference."""
        return self._copy

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Read both kinds of rows and copy the model."""
        sides = (("safe", self.safe), ("unsafe", self.unsafe))
        self._rows = [_rows(self, spec, name, net, task) for name, spec in sides]
        self._copy = [copy.deepcopy(net).eval().requires_grad_(False)]

    def before_step(self, step: Step) -> None:
        """Add the gradient of the preference term."""
        own = step.take()
        betas = (self.beta_safe, -self.beta_unsafe)
        batches = [rows.batch(step.number - 1, step.net) for rows in self._rows]
        losses, grads = [], []
        for batch in batches:
            losses.append(step.backward(batch))
            grads.append(step.take())
        gains = [self._reference(step, batch) - loss for batch, loss in zip(batches, losses, strict=True)]
        margin = betas[0] * gains[0] + betas[1] * gains[1]
        pull = self.scale * torch.sigmoid(-margin)  # minus the derivative of the term by the margin
        for beta, grad in zip(betas, grads, strict=True):
            _add(own, grad, pull * beta)  # a tensor: the device is not waited for
        step.put(own)

    @torch.no_grad()
    def _reference(self, step: Step, batch: Batch) -> Tensor:
        with step.forward_context():
            return in_root(batch_nll, self._copy[0], batch) / max(batch.targets.numel(), 1)


def _rows(defence: Any, spec: Any, name: str, net: nn.Module, task: Task) -> GuideRows:
    rows = second_task(spec, f"defence {defence.name}: {name}", task)
    return GuideRows(rows, defence.batch_size, choose_path(net, defence.batching)[0], task.seed)


@torch.no_grad()
def _add(own: dict[str, Tensor], other: Mapping[str, Tensor], weight: float | Tensor) -> None:
    """Put ``weight`` times the other gradients to one's own."""
    for name, grad in other.items():
        own[name] = own[name] + weight * grad if name in own else weight * grad
