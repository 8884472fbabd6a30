"""Defences at serving time: what stands between an answer and its reader, as columns beside the bare model."""

from ptst_pl.defences.serving.base import Bare, Served, ServingDefence
from ptst_pl.defences.serving.build import SERVING, build_serving

__all__ = ["SERVING", "Bare", "Served", "ServingDefence", "build_serving"]
