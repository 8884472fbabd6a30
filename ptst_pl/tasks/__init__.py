"""Fine-tuning tasks: which rows to train on. One file per task."""

from ptst_pl.tasks.gsm8k import GSM8K
from ptst_pl.tasks.jsonl import JsonLines
from ptst_pl.tasks.tiny import Tiny

__all__ = ["GSM8K", "JsonLines", "Tiny"]
