"""The model without its weights: how many parameters, and tensors that have a size and no content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM

from ptst_pl import InputError
from ptst_pl.model import causal_lm, to_train, trainable
from ptst_pl.model.loading import load_config
from ptst_pl.model.text_part import beside_text
from ptst_pl.training.finetuner import FineTuner

# Bits of a quantised weight: nf4 with double quantisation has 0.127 for its scales (arXiv 2305.14314, section 3).
QUANTISED_BITS = {"nf4": 4.127, "int8": 8.0}


def build_on_meta(finetuner: FineTuner) -> nn.Module:
    """The model that ``fit`` would train, adapters included, on the meta device.

    Raises:
        InputError: no config of a causal language model there, or LoRA does not fit it.
    """
    name = finetuner.pretrained
    options: dict[str, Any] = {"dtype": getattr(torch, finetuner.dtype_name)}
    # flash-attn is left out: on the meta device it is not there, and it keeps no more than PyTorch's own.
    if finetuner.attention not in ("auto", "flash_attention_2", "flash_attention_3"):
        options["attn_implementation"] = finetuner.attention
    try:
        config = load_config(name)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model {name!r} cannot be loaded: {reason}") from error
    with torch.device("meta"):
        net = to_train(model, finetuner.method, finetuner.lora)
    return net.train()


@dataclass(frozen=True)
class Parameters:
    """How many parameters there are, each counted once, also where two layers share one.

    Attributes:
        total: with adapters.
        trainable: that training changes.
        by_dtype: by the name of their type.
        bytes: of all; where the base is quantised, with its linear layers at that size.
        beside_text: frozen, since text never reaches them, as in a vision tower.
        unusual: parameters in neither a linear layer, an embedding nor a vector, as in mixtures of experts.
    """

    total: int
    trainable: int
    by_dtype: dict[str, int]
    bytes: int
    beside_text: int
    unusual: int


def count(model: nn.Module, quantize: str = "none") -> Parameters:
    """Count a model's parameters."""
    by_dtype: dict[str, int] = {}
    for parameter in model.parameters():
        name = str(parameter.dtype).removeprefix("torch.")
        by_dtype[name] = by_dtype.get(name, 0) + parameter.numel()
    return Parameters(
        total=sum(by_dtype.values()),
        trainable=sum(p.numel() for p in trainable(model).values()),
        by_dtype=by_dtype,
        bytes=sum(p.numel() * p.element_size() for p in model.parameters()) - saved_by_quantising(model, quantize),
        beside_text=sum(p.numel() for p in beside_text(causal_lm(model)).values()),
        unusual=sum(p.numel() for p in model.parameters() if p.dim() > 2),
    )


def saved_by_quantising(model: nn.Module, quantize: str) -> int:
    """Bytes that the frozen linear layers, all but the head, lose when the base is quantised."""
    if quantize == "none":
        return 0
    head = causal_lm(model).get_output_embeddings()
    frozen = [m.weight for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    weights = [w for w in frozen if not w.requires_grad]
    return int(sum(w.numel() * (w.element_size() - QUANTISED_BITS[quantize] / 8) for w in weights))


def give_sizes(model: nn.Module, mode: FakeTensorMode, dtype: torch.dtype | None = None) -> None:
    """Put fake CPU tensors in the place of those on the meta device: autocast and attention then act as on real ones.

    Args:
        model: on the meta device; changed in place. Shared parameters stay shared.
        mode: the mode that the tensors belong to.
        dtype: of the parameters; None for their own.
    """
    known: dict[nn.Parameter, nn.Parameter] = {}
    with mode:
        for module in model.modules():
            for name, old in module._parameters.items():
                if old is None:
                    continue
                if old not in known:
                    empty = torch.empty(old.shape, dtype=dtype or old.dtype, device="cpu")
                    known[old] = nn.Parameter(empty, requires_grad=old.requires_grad)
                module._parameters[name] = known[old]
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
