"""How answers are generated, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ptst_pl import InputError

Backend = Literal["auto", "engine", "continuous", "hf", "endpoint"]


@dataclass
class Decoding:
    """How answers are generated; stored with every generation.

    Attributes:
        max_new_tokens: longest answer.
        temperature: 0 means greedy, as the paper's command (``--top_p 0``) does in effect.
        top_p: nucleus; only with a temperature above 0.
        top_k: 0 means no limit.
        batch_size: prompts per batch of plain ``generate``. In bf16 the batch's shape can change the text (pitfall D5).
        seed: seed of sampled decoding. Each answer draws its own random numbers, from this seed, its prompt and its
            sample's number: whatever else is answered, in whatever order, on however many ranks.
        backend: ``engine`` (ours), ``continuous`` (transformers' ``generate_batch``), ``hf`` (``generate`` on sorted
            batches), or ``auto``: the engine where it can serve the model, else hf. In float32 they give one text.
        stop: an answer ends before the first of these texts, wherever the tokens' borders lie.
        samples: answers to each prompt, numbered from 0; more than one needs a temperature, and ``predict``.
        slots: answers that the engine works on at a time; None: as many as it finds best.
        prefix: text that is put at the beginning of the assistant's turn for the model to go on with. The stored
            answer is the whole turn, this text included: that is what a user would see, and what judges read.
        thought_marks: pairs of opening and closing marks of a thinking model's thoughts, beside the usual ones
            (``<think>``, ``[THINK]``, channels); judges do not see what stands between them.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    batch_size: int = 16
    seed: int = 42
    backend: Backend = "auto"
    stop: list[str] = field(default_factory=list)
    samples: int = 1
    slots: int | None = None
    prefix: str = ""
    thought_marks: list[list[str]] = field(default_factory=list)

    def check(self) -> None:
        """Raises ``InputError`` for a value outside its range."""
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise InputError("decoding: max_new_tokens and batch_size must be at least 1")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise InputError("decoding: need temperature >= 0, 0 < top_p <= 1 and top_k >= 0")
        if self.samples < 1 or (self.slots is not None and self.slots < 1):
            raise InputError("decoding: samples and slots must be at least 1")
        if not all(self.stop):
            raise InputError("decoding.stop holds an empty text, before which every answer would end; take it out")
        if any(len(pair) != 2 or not all(map(str.strip, pair)) for pair in self.thought_marks):
            raise InputError(
                f"decoding.thought_marks is {self.thought_marks}, expected pairs of an opening and a closing mark, "
                'such as [["<plan>", "</plan>"]]'
            )
        if self.samples > 1 and self.temperature == 0:
            raise InputError(
                f"decoding.samples is {self.samples} with temperature 0, which gives one text every time; "
                "set decoding.temperature above 0, or samples to 1"
            )

    def check_local(self) -> None:
        """Raises ``InputError`` for what cannot be done with a model on this machine."""
        self.check()
        if self.backend == "endpoint":
            raise InputError(
                "decoding.backend is 'endpoint', which is chosen by naming the served model: "
                "ptst_pl test --endpoint.model NAME --endpoint.base_url URL; else use auto, engine, continuous or hf"
            )
        if self.backend == "continuous" and self.temperature > 0:
            raise InputError(
                "decoding.backend is 'continuous' with a temperature above 0: transformers draws all answers from one "
                "random stream, so that an answer would depend on its neighbours; use auto, engine or hf"
            )

    def check_evaluation(self) -> None:
        """Raises ``InputError`` for what an evaluation does not count."""
        if self.samples > 1:
            raise InputError(
                f"safety.decoding.samples is {self.samples}: rates and their intervals count one answer per prompt; "
                "set it to 1 and vary safety.decoding.seed, or use predict"
            )


class Answer(NamedTuple):
    """Generated ids without the end token, and why the answer ended: ``stop``, ``stop_text`` or ``length``.

    With ``stop_text`` the ids end with the token that completes the stop text; the text is cut when it is read.
    """

    ids: list[int]
    finish_reason: str


def cut(ids: list[int], stops: set[int]) -> Answer:
    """The answer that ends before the first of ``stops``, or with the last id where none of them stands."""
    for place, token in enumerate(ids):
        if token in stops:
            return Answer(ids[:place], "stop")
    return Answer(ids, "length")


@dataclass
class PromptBatch:
    """Prompts to answer together, each with its number in the file.

    Attributes:
        indices: B numbers.
        prompts: B lists of token ids.
        end_id: the template's end token.
        pad_id: id to pad with.
        decoding: settings.
        samples: B numbers of samples; None: all are the first.
        decode: ids to text, where the settings have stop texts.
        progress: called with the number of answers just finished.
        made: called with the number of tokens just made.
    """

    indices: list[int]
    prompts: list[list[int]]
    end_id: int
    pad_id: int
    decoding: Decoding
    samples: list[int] | None = None
    decode: Callable[[list[int]], str] | None = None
    progress: Callable[[int], object] = lambda done: None
    made: Callable[[int], object] = lambda tokens: None
