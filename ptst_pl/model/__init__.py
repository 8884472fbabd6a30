"""Model: load it, add adapters, reach its backbone and head, compute its loss, share it out. Torch, never Lightning.

In: a folder or hub name. Out: a network, the loss of a batch, gradients.
May import: tokenization and everything below it.
"""

from ptst_pl.model.loading import Dtype, Quantize, load_model, pick_attention
from ptst_pl.model.lora import LoraSettings, Method, add_lora, lora_targets
from ptst_pl.model.network import batch_nll, causal_lm, describe, evaluating, trainable
from ptst_pl.model.trained_part import to_train

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
