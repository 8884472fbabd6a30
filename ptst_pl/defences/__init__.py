"""Defences: what is changed in the rows, the loss, the step or the parameters so that a model keeps its safety.

In: a section ``defence:`` of a config. Out: one object that the tasks and the fine-tuner call without knowing its name.
May import: tasks, model, generation and everything below them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptst_pl.defences.base import KEPT, Defence, Setting
    from ptst_pl.defences.build import DEFENCES, build_defence
    from ptst_pl.defences.loss_terms import LossDefence, Tokens
    from ptst_pl.defences.step import Step

__all__ = ["DEFENCES", "KEPT", "Defence", "LossDefence", "Setting", "Step", "Tokens", "build_defence"]
_MODULES = {
    "KEPT": "base", "Defence": "base", "Setting": "base", "DEFENCES": "build", "build_defence": "build",
    "LossDefence": "loss_terms", "Tokens": "loss_terms", "Step": "step",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Loading torch and transformers takes seconds, which a command's help need not wait for.
    if name in _MODULES:
        return getattr(importlib.import_module(f"ptst_pl.defences.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
