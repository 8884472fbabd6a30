"""What a defence at serving time does: it is given finished answers, and gives those that a user would see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import nn

from ptst_pl.generation import Answer, Decoding
from ptst_pl.results.records import Generation
from ptst_pl.templates import OwnTemplates
from ptst_pl.tokenization import TemplateTokenizer


@dataclass(frozen=True)
class Bare:
    """An answer of the bare model, with its tokens.

    Attributes:
        record: what is stored.
        prompt: token ids of the prompt.
        answer: token ids of the answer, and why it ended.
        again: the record of another answer to the same prompt.
        stops: ids that end an answer.
    """

    record: Generation
    prompt: list[int]
    answer: Answer
    again: Callable[[Answer], Generation]
    stops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Served:
    """What a defence has to work with.

    Attributes:
        model: that gave the answers.
        decoding: how.
        aligned: makes a context manager that gives the model before fine-tuning.
        encoder: renders and tokenises, as for the answers.
        templates: the user's own templates.
    """

    model: nn.Module
    decoding: Decoding
    aligned: Callable[[], AbstractContextManager[nn.Module]]
    encoder: TemplateTokenizer
    templates: OwnTemplates


@dataclass
class ServingDefence(ABC):
    """A defence at serving time. Its arguments are its dataclass fields.

    Attributes:
        source: where its rule is from.
    """

    source: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @abstractmethod
    def answers(self, given: Sequence[Bare], served: Served) -> tuple[list[Generation], list[Mapping[str, Any]]]:
        """What users see instead of ``given``, in the same order, and a line of facts about each: see ``fact``."""

    def fact(self, bare: Bare, flagged: bool, tokens: int, **more: Any) -> Mapping[str, Any]:
        """A line of ``served.jsonl``.

        Args:
            bare: the answer.
            flagged: whether something else was shown.
            tokens: that models have read or made for it, beside the bare answer's own.
            more: what else is to be said.
        """
        one = bare.record
        where = {"suite": one.suite, "prompt_id": one.prompt_id, "template": one.template, "step": one.step}
        return {**where, "defence": self.name, "flagged": flagged, "tokens": tokens, **more}

    def label(self, template: str) -> str:
        """The column beside ``template``."""
        return f"{self.name}:{template}"

    def record(self) -> dict[str, Any]:
        """Name and arguments."""
        return {"name": self.name, **{one.name: getattr(self, one.name) for one in fields(self) if one.init}}
