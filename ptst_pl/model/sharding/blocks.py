"""The decoder's repeated blocks, and computing them a second time instead of keeping what they made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ptst_pl import InputError
from ptst_pl.model import causal_lm

ActivationCheckpointing = Literal["off", "selective", "full"]


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The decoder's repeated blocks, in order.

    Raises:
        InputError: the model keeps them somewhere else.
    """
    inner = causal_lm(model)
    count = inner.config.get_text_config().num_hidden_layers
    for child in inner.get_decoder().children():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return list(child)
    raise InputError(
        f"model type {inner.config.model_type!r} has no list of its {count} blocks where other models have one; "
        "train it with trainer.strategy ddp and model.activation_checkpointing off"
    )


def checkpoint_activations(model: nn.Module, how: ActivationCheckpointing) -> None:
    """Keep only a block's input for the backward pass, which computes the block once more.

    ``full`` does so for every block, ``selective`` for every other one: half of the memory for half of the
    price, whatever the attention is called (a choice by operation has to know the names of the kernels).
    Random numbers are drawn again as before, so loss and gradients are those without checkpointing.

    The block's ``forward`` is replaced, not the block: parameters keep their names, and FSDP2's hooks stay outside.
    """
    if how == "off":
        return
    for block in decoder_blocks(model)[:: 2 if how == "selective" else 1]:
        block.forward = _checkpointed(block.forward)


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run
