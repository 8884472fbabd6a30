"""What a defence may do, and when it is asked to.

A defence is of one kind: it changes the *rows*, adds a *loss* term, works on the *step*, restricts the *parameters*, or
hooks *activations*. Each method below does nothing unless a defence says otherwise: plain fine-tuning is one too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from ptst_pl import InputError
from ptst_pl.model import Method, trainable
from ptst_pl.tasks.base import Task
from ptst_pl.tokenization import Encoded, Example, TemplateTokenizer

if TYPE_CHECKING:
    from ptst_pl.defences.step import Step

KEPT = "defence."  # begins the names of `Defence.kept` in a checkpoint
Encode = Callable[[Example], Encoded]
Kind = Literal["rows", "loss", "step", "parameters", "activations", "settings"]


@dataclass(frozen=True)
class Setting:
    """What a fit is like, for a defence that cannot do everything.

    Attributes:
        method: ``lora`` or ``full``.
        pretrained: the model.
        adapter: merged into it first.
        sharded: whether weights are shared out over ranks (FSDP2).
        quantized: whether the base is quantised.
    """

    method: Method
    pretrained: str
    adapter: str | None = None
    sharded: bool = False
    quantized: bool = False


@dataclass
class Defence:
    """The neutral defence, and the base of all others. The arguments of a defence are its dataclass fields.

    Attributes:
        kind: which of its methods it uses.
        needs: what the user has to bring, for the list of defences.
        source: where its equations are from.
    """

    kind: ClassVar[Kind] = "settings"
    needs: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""
    # Per-parameter tensors that belong to a checkpoint, by parameter; empty until `prepare`.
    kept: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    keeps_weights: ClassVar[bool] = False
    whole: ClassVar[str] = ""  # why it needs whole weights on every rank; empty where shares will do
    generates: ClassVar[bool] = False  # the model answers before training
    copies: ClassVar[int] = 0  # of the trained parameters, at the worst moment

    @property
    def name(self) -> str:
        """The short name, as in a config."""
        from ptst_pl.defences.build import short_name

        return short_name(type(self))

    def describe(self) -> str:
        """Its name and the arguments that are numbers or words, for people."""
        told = [f"{key} {value}" for key, value in self.record().items() if isinstance(value, int | float | str)]
        return ", ".join([self.name, *told[1:]])

    # ---- before a model is loaded -----------------------------------------------------------

    def check(self, setting: Setting) -> None:
        """Refuse what it cannot do.

        Raises:
            InputError: the combination, and what to do.
        """
        if setting.sharded and self.whole:
            raise InputError(f"defence {self.name} {self.whole}; use trainer.strategy ddp instead of fsdp2")

    def templates(self, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        """Templates that it brings along, in the form of a config's; ``own`` are the config's."""
        return {}

    def served(self, template: str) -> str:
        """The template that a user of the defended model serves with, instead of ``template``."""
        return template

    # ---- rows -------------------------------------------------------------------------------

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """The training rows, transformed or with others among them."""
        return examples

    def encoded(self, row: Encoded, example: Example, encode: Encode, encoder: TemplateTokenizer) -> Encoded:
        """One training row's ids and labels; ``encode`` makes those of another row under the same template."""
        return row

    # ---- model ------------------------------------------------------------------------------

    def learning_rate(self, rate: float) -> float:
        """The peak learning rate."""
        return rate

    def prepare(self, net: nn.Module, task: Task) -> None:
        """Look at the loaded model, which is not yet sharded; freeze, hook, copy.

        Args:
            net: with its adapters.
            task: what it will be trained on.
        """

    def copies_model(self, method: Method) -> bool:
        """Whether a frozen copy of the whole model stands beside it."""
        return False

    def extra_models(self) -> list[nn.Module]:
        """Further models that are to be sharded and moved beside the trained one."""
        return []

    def training(self) -> AbstractContextManager[None]:
        """Around every forward pass of training, and around no other."""
        return contextlib.nullcontext()

    # ---- steps ------------------------------------------------------------------------------

    def before_step(self, step: Step) -> None:
        """With the gradient of the step's mean loss in place, before it is clipped."""

    def after_step(self, step: Step) -> None:
        """When the optimiser has made the step."""

    @contextlib.contextmanager
    def shipped(self, net: nn.Module) -> Iterator[None]:
        """The weights as they would be shipped now, for an evaluation; afterwards those that training goes on with."""
        yield

    def finish(self, net: nn.Module) -> None:
        """Training is over: leave the weights that are to be shipped."""

    def resume(self, net: nn.Module) -> None:
        """Training goes on: put back the weights from before ``finish``, if it was called."""

    # ---- checkpoints ------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """What the record of a run says of it: every argument."""
        return {"name": self.name, **{one.name: getattr(self, one.name) for one in fields(self) if one.init}}

    def state(self) -> dict[str, Any]:
        """Small state for a checkpoint, beside ``kept``."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take ``state`` back."""


def need_number(name: str, value: float, low: float = 0.0, high: float = float("inf")) -> None:
    """Check an argument.

    Raises:
        InputError: it is outside ``low`` to ``high``, or no number.
    """
    if not isinstance(value, int | float) or not low <= value <= high:
        upper = f" to {high:g}" if high < float("inf") else " or more"
        raise InputError(f"defence: {name} is {value!r}, expected {low:g}{upper}")


def copies(net: nn.Module) -> dict[str, Tensor]:
    """Copies of the trained parameters, by name, sharded as they are."""
    return {name: value.detach().clone() for name, value in trainable(net).items()}
