"""An optimiser step as a defence sees it: the parameters, their gradients, and further backward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ptst_pl.model import batch_nll, trainable
from ptst_pl.model.sharding import gradient_norm, gradients, in_root, is_sharded
from ptst_pl.tokenization.batches import Batch


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    Attributes:
        number: counted from 1.
        total: steps of the whole fit.
        net: the model.
        parameters: the trained ones, by name.
        optimizer: makes the step.
        seen: told of every batch that goes through the model.
        forward_context: what training's forward passes run under (mixed precision).
        clip: clips the gradients in place, as the trainer is told to.
    """

    number: int
    total: int
    net: nn.Module
    parameters: Mapping[str, nn.Parameter]
    optimizer: Optimizer
    seen: Callable[[Batch], None]
    forward_context: Callable[[], AbstractContextManager[None]]
    clip: Callable[[], None]

    @classmethod
    def of(cls, tuner: Any, optimizer: Any) -> Step:
        """The step that a fine-tuner is making.

        Args:
            tuner: the Lightning module, with ``network`` and ``see``.
            optimizer: Lightning's or PyTorch's.
        """
        trainer, net = tuner.trainer, tuner.network
        clipping = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        return cls(
            number=trainer.global_step + 1,
            total=int(trainer.estimated_stepping_batches),
            net=net,
            parameters=trainable(net),
            optimizer=getattr(optimizer, "optimizer", optimizer),
            seen=tuner.see,
            forward_context=trainer.precision_plugin.forward_context,
            clip=lambda: tuner.configure_gradient_clipping(optimizer, *clipping),
        )

    def take(self) -> dict[str, Tensor]:
        """The gradients, which are then gone."""
        found = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        self.put({})
        return found

    def put(self, grads: Mapping[str, Tensor]) -> None:
        """Make these the gradients."""
        for name, parameter in self.parameters.items():
            parameter.grad = grads.get(name)

    def backward(self, batch: Batch, limit: float | None = None) -> Tensor:
        """Put the gradient of a batch's mean loss in place; every rank gives the same batch. Returns the loss.

        Dropout draws the same masks at every call within a step, and leaves the random state as it was.

        Args:
            batch: on the model's device.
            limit: a loss above it has no gradient.
        """
        self.put({})
        self.seen(batch)
        with torch.random.fork_rng(_devices(self.net)), torch.enable_grad():
            torch.manual_seed(self.number)
            with self.forward_context():
                loss = in_root(batch_nll, self.net, batch) / max(batch.targets.numel(), 1)
            (loss if limit is None else loss.clamp(max=limit)).backward()  # type: ignore[no-untyped-call]
        self._average()
        return loss.detach()

    def _average(self) -> None:
        """Keep ranks alike to the last bit; FSDP2 has averaged already."""
        if not torch.distributed.is_initialized() or is_sharded(self.net):
            return
        for grad in gradients(self.parameters.values()):
            torch.distributed.all_reduce(grad)
            grad /= torch.distributed.get_world_size()

    def norm(self) -> Tensor:
        """2-norm of the gradients in place, over all ranks."""
        return gradient_norm(self.parameters.values())


def _devices(net: nn.Module) -> list[int]:
    device = next(net.parameters()).device
    return [] if device.index is None or device.type == "cpu" else [device.index]
