"""The model: load it, add adapters, reach its backbone and head."""

from ptst_pl.modeling.loading import Dtype, Quantize, load_model, pick_attention
from ptst_pl.modeling.lora import LoraSettings, Method, add_lora, lora_targets
from ptst_pl.modeling.network import batch_nll, causal_lm, describe, evaluating, trainable
from ptst_pl.modeling.trained_part import to_train

__all__ = [
    "Dtype",
    "LoraSettings",
    "Method",
    "Quantize",
    "add_lora",
    "batch_nll",
    "causal_lm",
    "describe",
    "evaluating",
    "load_model",
    "lora_targets",
    "pick_attention",
    "to_train",
    "trainable",
]
