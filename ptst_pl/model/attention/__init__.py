"""Attention over packed rows, in which no row sees another: its kernels, and switching a model to it and back."""

from ptst_pl.model.attention.kernels import usable_kernel
from ptst_pl.model.attention.rows import row_attention
from ptst_pl.model.attention.switching import (
    attending_with,
    attends_by_rows,
    attention_name,
    own_attention,
    use_row_attention,
)

__all__ = [
    "attending_with",
    "attends_by_rows",
    "attention_name",
    "own_attention",
    "row_attention",
    "usable_kernel",
    "use_row_attention",
]
