"""The run's weights as one plain causal language model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptst_pl import InputError
from ptst_pl.defences import build_defence
from ptst_pl.model import LoraSettings, causal_lm, evaluating, load_model, to_train
from ptst_pl.ship.export.source import Source
from ptst_pl.training.finetuner import FineTuner

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Merged:
    """The model, and what merging and rounding did to it.

    Attributes:
        model: the plain model, in the type that is written.
        difference: largest difference of a logit before and after merging, in float32.
        rounding: with LoRA, size of the rounding error beside the whole update (2-norms over all
            adapted weights); None where nothing was rounded or nothing merged.
    """

    model: PreTrainedModel
    difference: float
    rounding: float | None


def trained_model(source: Source) -> nn.Module:
    """The base with the checkpoint's parameters, in float32 and evaluation mode.

    A bfloat16 base is loaded as such, as in the run, and then widened, which changes no weight.
    A quantised base is loaded as it was before.

    Raises:
        InputError: the base cannot be loaded, or the checkpoint does not fit it.
    """
    settings = source.model
    method, pretrained = settings["method"], str(settings["pretrained"])
    lora = LoraSettings(**(settings.get("lora") or {}))
    made_up, adapter = bool(settings.get("random_weights")), settings.get("adapter")
    tuner = FineTuner(pretrained, method=method, lora=lora, random_weights=made_up, adapter=adapter)
    dtype = str(settings.get("dtype") or "float32")
    base = load_model(pretrained, dtype, random_weights=made_up, adapter=adapter)
    base.to(torch.float32)  # type: ignore[arg-type]
    tuner.net = to_train(base, method, lora)
    tuner.defence = build_defence(source.config.get("defence"))
    tuner.on_load_checkpoint(dict(source.contents))
    tuner.load_state_dict(source.contents["state_dict"])
    tuner.defence.finish(tuner.net)
    return tuner.net.eval()


def merge(model: nn.Module, dtype: str) -> Merged:
    """Merge adapters into their layers in float32, compare, and round to ``dtype`` once at the end.

    Raises:
        InputError: weights that are not finite, or a merged model that computes something else.
    """
    wanted = getattr(torch, dtype)
    ids = _probe(causal_lm(model))
    before = _logits(causal_lm(model), ids)
    rounding = _rounding(model, wanted)
    plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
    assert isinstance(plain, PreTrainedModel)
    after = _logits(plain, ids)
    difference = float((after - before).abs().max())
    # Written so that NaN fails too.
    if not difference <= _TOLERANCE * (1 + float(before.abs().max())):
        raise InputError(f"export: merging changed the logits by up to {difference:.3g}; are all weights finite?")
    plain.to(wanted)
    return Merged(plain, difference, rounding)


def _probe(model: PreTrainedModel) -> Tensor:
    size = int(model.config.get_text_config().vocab_size)
    return torch.randint(size, (2, 16), generator=torch.Generator().manual_seed(0))


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    with evaluating(model):
        logits = model(input_ids=ids, use_cache=False).logits
    assert isinstance(logits, Tensor)
    return logits


@torch.no_grad()
def _rounding(model: nn.Module, dtype: torch.dtype) -> float | None:
    """How much of the update rounding takes away: it is small beside the weights that it is added to."""
    if dtype == torch.float32 or not isinstance(model, PeftModel):
        return None
    lost, update = 0.0, 0.0
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            base, delta = layer.get_base_layer().weight, layer.get_delta_weight("default")
            kept = (base + delta).to(dtype).float() - base.to(dtype).float()
            lost += float((kept - delta).square().sum())
            update += float(delta.square().sum())
    return (lost / update) ** 0.5 if update else 0.0
