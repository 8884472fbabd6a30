"""Defences: what is changed in the rows, the loss, the step or the parameters so that a model keeps its safety.

In: a section ``defence:`` of a config. Out: one object that the tasks and the fine-tuner call without knowing its name.
May import: tasks, model, generation and everything below them.
"""

from ptst_pl.defences.base import KEPT, Defence, Setting
from ptst_pl.defences.build import DEFENCES, build_defence
from ptst_pl.defences.loss_terms import LossDefence, Tokens
from ptst_pl.defences.step import Step

__all__ = ["DEFENCES", "KEPT", "Defence", "LossDefence", "Setting", "Step", "Tokens", "build_defence"]
