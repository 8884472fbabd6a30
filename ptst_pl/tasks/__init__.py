"""Tasks: which rows to train on, in which order. One file per task.

In: files or hub sets, and a template's name. Out: a LightningDataModule.
May import: tokenization, suites, labs and everything below them.
"""

from ptst_pl.tasks.alpaca import Alpaca, Dolly
from ptst_pl.tasks.chatdoctor import ChatDoctor
from ptst_pl.tasks.gsm8k import GSM8K
from ptst_pl.tasks.jsonl import JsonLines
from ptst_pl.tasks.mixture import Mixture
from ptst_pl.tasks.openorca import OpenOrca
from ptst_pl.tasks.orca_math import OrcaMath
from ptst_pl.tasks.pcfg import Pcfg
from ptst_pl.tasks.tiny import Tiny

__all__ = ["GSM8K", "Alpaca", "ChatDoctor", "Dolly", "JsonLines", "Mixture", "OpenOrca", "OrcaMath", "Pcfg", "Tiny"]
