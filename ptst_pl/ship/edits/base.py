"""What an edit is: a function of one layer's weights, in float32 on the processor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from ptst_pl import InputError


@dataclass(frozen=True)
class Layer:
    """One tensor of the models, float32.

    Attributes:
        name: as in a checkpoint.
        aligned: before fine-tuning.
        tuned: after it.
        others: the same tensor of further models, by what they are (``base``, ``unaligned``, ``safety``).
        inputs: what a linear layer was given on the edit's rows: (d, d) the mean of x x^T; None for other tensors.
        linear: whether it is the weight of a linear layer.
    """

    name: str
    aligned: Tensor
    tuned: Tensor
    others: Mapping[str, Tensor]
    inputs: Tensor | None = None
    linear: bool = True

    @property
    def update(self) -> Tensor:
        """What fine-tuning added."""
        return self.tuned - self.aligned


@dataclass
class Edit(ABC):
    """An edit. Its arguments are its dataclass fields.

    Attributes:
        source: where the equations are from.
        others: further models that it needs, by the option's name.
        rows: whether it needs rows that go through the aligned model first: ``safety`` or ``harmful``.
        needs_tuned: False where it edits the aligned model alone, before any fine-tuning.
    """

    source: ClassVar[str] = ""
    others: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[str] = ""
    needs_tuned: ClassVar[bool] = True

    def look(self, layer: Layer) -> None:  # noqa: B027  (most edits have no first pass)
        """A first pass over all layers, where an edit has to see them all before it changes one."""

    @property
    def looks(self) -> bool:
        """Whether there is such a pass."""
        return False

    @abstractmethod
    def apply(self, layer: Layer) -> Tensor:
        """The edited tensor."""

    def notes(self) -> dict[str, Any]:
        """What is worth a line in the record, once all layers are edited."""
        return {}

    def record(self) -> dict[str, Any]:
        """Its arguments."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init}


def need(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Check an argument.

    Raises:
        InputError: it is outside ``low`` to ``high``.
    """
    if not low <= value <= high:
        upper = f" to {high:g}" if high < float("inf") else " or more"
        raise InputError(f"edit: {name} is {value:g}, expected {low:g}{upper}")


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two matrices; 1 where both are 0."""
    norms = one.norm() * other.norm()
    return float(torch.sum(one * other) / norms) if norms > 0 else 1.0
