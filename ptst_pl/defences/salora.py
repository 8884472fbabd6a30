"""SaLoRA's constraint: adapters cannot change what a layer answers to unsafe prompts.

Li et al. 2025, arXiv 2501.01765. V holds the first right singular vectors of a layer's outputs on unsafe prompts, and
C = I - V V^T. An adapter's update is C B A: nothing of it lies in the directions that refusals are made of.

The paper computes C B A in every forward pass. Here B is put back to C B after every step, and its gradient to C grad:
the update lies in the same subspace, an exported adapter is a plain one, and nothing is added to a forward pass. The
paper's start of B and A from the task's own outputs is left out: B starts at 0, so the function is preserved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind, Setting, need_number
from ptst_pl.defences.guide_rows import GuideRows, second_task
from ptst_pl.defences.step import Step
from ptst_pl.model import batch_nll, trainable
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.model.network import evaluating
from ptst_pl.tasks.base import Task

_B = ".lora_B."


@dataclass
class SaLoRA(Defence):
    """LoRA outside of the safety subspace.

    Attributes:
        safety: a task with unsafe questions and safe answers.
        rank: of the safety subspace.
        rows: how many of the task's rows are looked at.
        template: of these rows; default the training template.
    """

    kind: ClassVar[Kind] = "parameters"
    needs: ClassVar[tuple[str, ...]] = ("safety rows", "LoRA")
    source: ClassVar[str] = "arXiv 2501.01765"
    whole: ClassVar[str] = "needs whole adapters"
    safety: dict[str, Any] | str | None = None
    rank: int = 32
    rows: int = 128
    template: str | None = None
    _bases: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        need_number("rank", self.rank, 1)
        need_number("rows", self.rows, 1)

    def check(self, setting: Setting) -> None:
        """Adapters, and whole ones."""
        super().check(setting)
        if setting.method != "lora":
            raise InputError(f"defence salora restricts adapters: model.method is {setting.method!r}, expected lora")

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Find every adapted layer's safety subspace."""
        rows = second_task(self.safety, "defence salora: safety", task, self.template)
        guide = GuideRows(rows, self.rows, choose_path(net, "auto")[0], task.seed)
        outputs: dict[str, Tensor] = {}
        hooks = []
        modules = dict(net.named_modules())
        for name in (name for name in trainable(net) if _B in name):
            layer = modules[name.partition(_B)[0]]

            def keep(module: nn.Module, inputs: Any, output: Tensor, name: str = name) -> None:
                outputs[name] = output.detach().reshape(-1, output.shape[-1]).float()

            hooks.append(layer.register_forward_hook(keep))
        try:
            with evaluating(net):
                batch_nll(net, guide.batch(0, net))
        finally:
            for hook in hooks:
                hook.remove()
        self._bases = {name: safety_basis(found, self.rank) for name, found in outputs.items()}

    def before_step(self, step: Step) -> None:
        """C grad."""
        for name, basis in self._on(step).items():
            grad = step.parameters[name].grad
            if grad is not None:
                grad.copy_(outside(basis, grad))

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """C B."""
        for name, basis in self._on(step).items():
            step.parameters[name].copy_(outside(basis, step.parameters[name]))

    def _on(self, step: Step) -> dict[str, Tensor]:
        device = next(iter(step.parameters.values())).device
        self._bases = {name: basis.to(device) for name, basis in self._bases.items()}
        return self._bases


def safety_basis(outputs: Tensor, rank: int) -> Tensor:
    """(D, rank) orthonormal: the first right singular vectors of (N, D) outputs; fewer where there are fewer."""
    found: Tensor = torch.linalg.svd(outputs, full_matrices=False).Vh[: min(rank, outputs.shape[1] - 1)]
    return found.T.contiguous()


@torch.no_grad()
def outside(basis: Tensor, matrix: Tensor) -> Tensor:
    """C M = M - V (V^T M), for a (D, anything) matrix."""
    return matrix - basis @ (basis.T @ matrix)
