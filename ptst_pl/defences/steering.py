"""Preventative steering: push activations along a direction while training, so that training need not do it.

Chen et al. 2025, arXiv 2507.21509, section 5. At one layer h <- h + c v / |v| in every forward pass of training, never
in an evaluation. v leads from declining to answering: the difference between the mean hidden states of the last prompt
token, over harmless and over unsafe questions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind, need_number
from ptst_pl.defences.guide_rows import second_task
from ptst_pl.model.hidden_states import last_token_states
from ptst_pl.model.sharding import decoder_blocks
from ptst_pl.tasks.base import Task


@dataclass
class Steering(Defence):
    """Add a vector to a layer's output in training.

    Attributes:
        unsafe: a task with unsafe questions; its answers are not looked at.
        layer: whose output, counted from 0.
        strength: c, in units of the mean norm of the layer's hidden states.
        rows: how many questions of each kind the direction is made of.
        template: of these questions; default the training template.
    """

    kind: ClassVar[Kind] = "activations"
    needs: ClassVar[tuple[str, ...]] = ("unsafe questions",)
    source: ClassVar[str] = "arXiv 2507.21509"
    unsafe: dict[str, Any] | str | None = None
    layer: int = 0
    strength: float = 0.1
    rows: int = 64
    template: str | None = None
    vector: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    _on: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("layer", self.layer)
        need_number("strength", self.strength, -float("inf"))
        need_number("rows", self.rows, 1)

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Find the direction, and hook the layer."""
        blocks = decoder_blocks(net)
        if self.layer >= len(blocks):
            raise InputError(f"defence steering: layer is {self.layer}, the model has layers 0 to {len(blocks) - 1}")
        other = second_task(self.unsafe, "defence steering: unsafe", task, self.template)
        harmless, unsafe = (_prompts(rows, self.rows) for rows in (task, other))
        pad = task.encoder.pad_id
        states = [last_token_states(net, prompts, pad)[:, self.layer] for prompts in (harmless, unsafe)]
        direction = states[0].mean(0) - states[1].mean(0)
        size = torch.cat(states).norm(dim=1).mean()
        self.vector = self.strength * size * direction / direction.norm().clamp(min=1e-9)
        blocks[self.layer].register_forward_hook(self._push)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Push."""
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _push(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self._on or self.vector is None:
            return output
        first = output[0] if isinstance(output, tuple) else output
        pushed = first + self.vector.to(first)
        return (pushed, *output[1:]) if isinstance(output, tuple) else pushed


def _prompts(task: Task, count: int) -> list[list[int]]:
    return [row.input_ids[: row.prompt_length] for row in task.rows("train")[:count]]
