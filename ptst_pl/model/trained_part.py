"""What of a loaded model is trained: its adapters, or all that takes part in an answer to text."""

from __future__ import annotations

import logging

from torch import nn
from transformers import PreTrainedModel

from ptst_pl.model.lora import LoraSettings, Method, add_lora
from ptst_pl.model.text_part import beside_text, parts_beside_text

log = logging.getLogger(__name__)


def to_train(model: PreTrainedModel, method: Method, lora: LoraSettings) -> nn.Module:
    """The model with gradients where training changes it, and nowhere else.

    Parts that text never reaches are frozen: without a gradient they would stop DistributedDataParallel.

    Args:
        model: as it was loaded; changed in place.
        method: ``lora`` or ``full``.
        lora: settings of the adapters.

    Raises:
        InputError: LoRA's targets do not fit the model.
    """
    idle = beside_text(model)
    if idle:
        size, parts = sum(p.numel() for p in idle.values()), ", ".join(parts_beside_text(model))
        log.info("frozen: %s (%d parameters), which text never reaches", parts, size)
    for parameter in idle.values():
        parameter.requires_grad_(False)
    net: nn.Module = add_lora(model, lora) if method == "lora" else model
    return net
