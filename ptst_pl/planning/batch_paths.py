"""Which way a batch will go through the model, without its weights."""

from __future__ import annotations

import warnings

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ptst_pl import InputError
from ptst_pl.model import batch_nll, causal_lm
from ptst_pl.model.attention import use_row_attention
from ptst_pl.model.batch_paths import Path, probe_batch
from ptst_pl.planning.shape import build_on_meta, give_sizes
from ptst_pl.tokenization.batches import Batch
from ptst_pl.training.finetuner import FineTuner


def path_of(finetuner: FineTuner) -> Path:
    """The path that ``model.batching`` leads to.

    ``fit`` also compares two losses on the real weights before it packs rows; here only the way is walked.

    Raises:
        InputError: packed rows are asked for, and the model cannot take them.
    """
    if finetuner.batching == "padded":
        return "padded"
    reason = _obstacle(finetuner)
    if reason and finetuner.batching != "auto":
        raise InputError(f"model.batching is {finetuner.batching!r}, but {reason}; use auto or padded")
    if reason:
        return "padded"
    return "prefix" if finetuner.batching == "auto" else finetuner.batching


def _obstacle(finetuner: FineTuner) -> str:
    model, mode = build_on_meta(finetuner), FakeTensorMode()
    inner = causal_lm(model)
    give_sizes(model, mode)
    try:
        use_row_attention(inner)
        with mode, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch_nll(model, fake(probe_batch(inner.config.get_text_config().vocab_size, packed=True), mode))
    except (TypeError, RuntimeError, AttributeError) as error:
        return f"model type {inner.config.model_type!r} cannot attend by rows ({str(error).splitlines()[0]})"
    return ""


def fake(batch: Batch, mode: FakeTensorMode) -> Batch:
    """The batch's tensors without their content."""
    return batch.map(mode.from_tensor)
