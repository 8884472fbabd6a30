"""What a preset is: render a prompt, let the model run, read its output as a verdict or as unscored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.suites import CONTEXT_SEAM


@dataclass(frozen=True)
class Output:
    """What the model gave for one prompt.

    Attributes:
        text: the generated text without special tokens; empty for a class head.
        ids: K generated ids without the end token; empty for a class head.
        logits: float32; (K', V) for the generated positions, K' >= K with the end token, or (0, V)
            where the preset does not keep them; (L,) for a class head.
        labels: names of the L classes.
    """

    text: str
    ids: list[int]
    logits: Tensor
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What an output says; ``harmful`` and ``refused`` are None where it does not say."""

    reason: str
    harmful: bool | None = None
    refused: bool | None = None
    score: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """What turns numbers into a verdict.

    Attributes:
        min_mass: smallest probability on the allowed tokens; below it the model did not answer the
            question that the prompt asks, and renormalising would make up a plausible score.
        threshold: a score above it is harmful; None where the model's own word decides.
    """

    min_mass: float
    threshold: float | None = None


class Preset(ABC):
    """One classifier: where it is, how it is asked, how its output is read.

    Attributes:
        name: in configs and labels.
        version: changes with the prompt or the reading.
        model: hub id.
        adapter: hub id of a LoRA adapter on top, or None.
        adapter_revision: its commit.
        measures: kinds of suite that it can judge.
        head: a causal language model, or one with a class head (right padding).
        new_tokens: most tokens that are generated.
        keeps_logits: whether the reading needs the logits of the generated positions.
        attention: attention implementation.
        threshold: default of ``Rule.threshold``.
        max_answer_tokens: the judged answer is cut to so many tokens; None keeps it whole.
        keeps_end: whether a cut answer keeps its end instead of its beginning.
        max_length: a class head's prompt is cut to so many tokens, end first.
        labels: a class head's labels, in order.
        markers: delimiters of the prompt that judged text must not bring along.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    model: ClassVar[str]
    adapter: ClassVar[str | None] = None
    adapter_revision: ClassVar[str | None] = None
    measures: ClassVar[tuple[str, ...]] = ("asr",)
    head: ClassVar[Literal["causal", "classes"]] = "causal"
    new_tokens: ClassVar[int] = 1
    keeps_logits: ClassVar[bool] = True
    attention: ClassVar[str] = "sdpa"
    threshold: ClassVar[float | None] = None
    max_answer_tokens: ClassVar[int | None] = None
    keeps_end: ClassVar[bool] = False
    max_length: ClassVar[int | None] = None
    labels: ClassVar[tuple[str, ...]] = ()
    markers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    @abstractmethod
    def render(self, question: str, answer: str) -> str:
        """The exact text that the model sees; BOS may stand in it or not."""

    def render_in(self, context: str, question: str, answer: str) -> str:
        """The same for a question that refers to a context.

        A classifier without a prompt for this is shown what the model under test was asked: context and question.
        """
        return self.render(f"{context}{CONTEXT_SEAM}{question}", answer)

    @abstractmethod
    def read(self, output: Output, rule: Rule) -> Reading:
        """The verdict in an output, or a reading without one and the reason."""


def word_tokens(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], fold: bool = False) -> dict[str, list[int]]:
    """For each word the ids of all tokens that are this word, white space around it aside.

    Args:
        tokenizer: of the judge model.
        words: the words that the judge may answer with.
        fold: whether upper and lower case are the same.

    Raises:
        InputError: a word is no single token: this is not the tokenizer that the judge was trained with.
    """
    found: dict[str, list[int]] = {word: [] for word in words}
    for piece, number in tokenizer.get_vocab().items():
        word = piece.strip("\u2581\u0120\u010a \n")  # sentencepiece's and byte-level BPE's white space
        word = word.lower() if fold else word
        if word in found:
            found[word].append(number)
    if missing := [word for word in words if not found[word]]:
        raise InputError(
            f"judge model: its tokenizer has no token {missing[0]!r}, which this judge reads its verdict from; "
            "check that path is the folder of the model that the preset names"
        )
    return {word: sorted(ids) for word, ids in found.items()}


def shares(logits: Tensor, groups: dict[str, list[int]]) -> dict[str, float]:
    """Probability of each group of tokens under logits of shape (V,), out of all V tokens; 0 where it is no number."""
    probabilities = torch.softmax(logits.double(), dim=-1).nan_to_num(0.0)
    return {word: float(probabilities[ids].sum()) for word, ids in groups.items()}


def mass_problem(found: dict[str, float], rule: Rule) -> str:
    """Why a readout cannot be used, or an empty string if the probability lies where it should."""
    mass = sum(found.values())
    if mass > 0 and mass >= rule.min_mass:
        return ""
    words = "/".join(found)
    return f"judge failed: {mass:.2g} of the probability is on {words}, expected at least {rule.min_mass:g}"
