"""Rows into batches: padded or packed for training, padded left for generation, in a resumable order."""

from ptst_pl.batching.batch import Batch, PadRight, Sources, pad_left
from ptst_pl.batching.layout import Group, RowLayout, Segment, group_rows, lay_out
from ptst_pl.batching.loading import ResumableLoader, Rows
from ptst_pl.batching.order import EpochBatches, EpochOrder, shuffled
from ptst_pl.batching.packing import PackRows, shareable

__all__ = [
    "Batch",
    "EpochBatches",
    "EpochOrder",
    "Group",
    "PackRows",
    "PadRight",
    "ResumableLoader",
    "RowLayout",
    "Rows",
    "Segment",
    "Sources",
    "group_rows",
    "lay_out",
    "pad_left",
    "shareable",
    "shuffled",
]
