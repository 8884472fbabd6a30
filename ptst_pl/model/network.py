"""Reach the Hugging Face model below any adapter: its hidden states, head, loss, parameters and mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptst_pl.model.attention import attends_by_rows, attention_name
from ptst_pl.model.loss import EachToken, answer_nll
from ptst_pl.tokenization.batches import Batch


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model itself, below any adapter."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner


def batch_nll(model: nn.Module, batch: Batch, each: EachToken | None = None) -> Tensor:
    """Summed negative log-likelihood of a batch's supervised tokens; see ``answer_nll``."""
    inner = causal_lm(model)
    hidden = _hidden(inner, batch)
    return answer_nll(hidden, batch.positions, batch.targets, inner.get_output_embeddings(), final_softcap(inner), each)


def token_logits(model: nn.Module, batch: Batch) -> Tensor:
    """(S, V) float32 logits of a batch's supervised positions; takes the memory of all of them at once."""
    inner = causal_lm(model)
    hidden = _hidden(inner, batch)
    logits = inner.get_output_embeddings()(hidden.reshape(-1, hidden.shape[-1])[batch.positions]).float()
    cap = final_softcap(inner)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def last_hidden(model: nn.Module, batch: Batch) -> Tensor:
    """(B, T, H) what the head reads, of a padded or packed batch."""
    return _hidden(causal_lm(model), batch)


def _hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """(B, T, H) last hidden states of a padded or packed batch."""
    backbone = model.get_decoder()
    if attends_by_rows(model):
        rows = batch.layout or "padded"
        output = backbone(input_ids=batch.input_ids, position_ids=batch.position_ids, rows=rows, use_cache=False)
    elif batch.layout is None:
        output = backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    else:  # another attention would let rows see each other
        raise RuntimeError("packed rows need use_row_attention(model)")
    hidden = output.last_hidden_state
    assert isinstance(hidden, Tensor)
    return hidden


def final_softcap(model: PreTrainedModel) -> float | None:
    """The limit of the logits (Gemma 2, arXiv 2408.00118, section 2), if the model has one."""
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return None if cap is None else float(cap)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def describe(model: nn.Module) -> dict[str, Any]:
    """Counts and types for the log: parameters, trainable ones, attention, dtypes."""
    chosen = trainable(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in chosen.values()),
        "attention": attention_name(causal_lm(model)),
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()}),
    }
