"""Which attention a model uses: that over packed rows, or the one that it was loaded with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from transformers import PreTrainedModel

from ptst_pl.model.attention.rows import NAME

_OWN = "_ptst_own_attention"


def use_row_attention(model: PreTrainedModel) -> None:
    """Let the model attend by the layout that comes with each call; ``own_attention`` undoes it for a while."""
    config = model.config.get_text_config()
    if config._attn_implementation != NAME:
        setattr(model, _OWN, config._attn_implementation)  # not in the config, which is saved with the weights
        config._attn_implementation = NAME


def attends_by_rows(model: PreTrainedModel) -> bool:
    """Whether the model expects packed batches."""
    return bool(model.config.get_text_config()._attn_implementation == NAME)


def attention_name(model: PreTrainedModel) -> str:
    """The implementation that the model was loaded with."""
    return str(getattr(model, _OWN, model.config.get_text_config()._attn_implementation))


@contextlib.contextmanager
def attending_with(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Another implementation for a while, by the name that transformers knows it by."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


@contextlib.contextmanager
def own_attention(model: PreTrainedModel) -> Iterator[None]:
    """The implementation that the model was loaded with, for padded batches and for generation."""
    with attending_with(model, attention_name(model)):
        yield
