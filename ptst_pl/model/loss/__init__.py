"""Token-exact loss on answer tokens only, and its sums over micro-batches and sources."""

from ptst_pl.model.loss.answers import EachToken, answer_nll
from ptst_pl.model.loss.head import head_nll
from ptst_pl.model.loss.sums import ABSENT, FirstNotFinite, Micro, SummedLoss

__all__ = ["ABSENT", "EachToken", "FirstNotFinite", "Micro", "SummedLoss", "answer_nll", "head_nll"]
