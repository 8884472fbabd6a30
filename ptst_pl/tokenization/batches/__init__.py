"""Encoded rows into batches: padded or packed for training, padded left for generation."""

from ptst_pl.tokenization.batches.batch import Batch, PadRight, Sources, pad_left
from ptst_pl.tokenization.batches.layout import Group, RowLayout, Segment, group_rows, lay_out
from ptst_pl.tokenization.batches.packing import PackRows, shareable

__all__ = [
    "Batch",
    "Group",
    "PackRows",
    "PadRight",
    "RowLayout",
    "Segment",
    "Sources",
    "group_rows",
    "lay_out",
    "pad_left",
    "shareable",
]
