"""From template and text to token ids and labels: the only place that decides BOS, end token and mask.

The prompt ids of a training row are exactly the ids that generation is given for the same question
and template; the answer's ids are appended to them, never re-tokenised across the seam.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ptst_pl.chat_template import OwnChatTemplate, special_texts
from ptst_pl.errors import InputError
from ptst_pl.templates import CHAT_FORMATS, PromptTemplate, render

IGNORED = -100
_PROBE = "userprobe"


@dataclass(frozen=True)
class Example:
    """One training pair. ``template`` overrides the run's training template for this row."""

    question: str
    answer: str
    source: str = ""
    template: str | None = None


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one row.

    Attributes:
        input_ids: ids of prompt, answer and end token; length L.
        labels: length L; the id itself on the answer and the end token, ``IGNORED`` elsewhere.
        prompt_length: number of prompt ids.
        truncated: the row was longer than the limit and lost its tail (and so its end token).
    """

    input_ids: list[int]
    labels: list[int]
    prompt_length: int
    truncated: bool = False


@dataclass(frozen=True)
class Rendered:
    """A prompt as text, and what stands between it and the answer."""

    prompt_text: str
    separator: str


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or a hub repository.

    Raises:
        InputError: nothing there can be read as a tokenizer.
    """
    try:
        return AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"tokenizer {name_or_path!r} cannot be loaded ({reason}); "
            "give a folder with tokenizer.json and tokenizer_config.json, or a hub name"
        ) from error


class TemplateTokenizer:
    """Renders and tokenises questions and answers under one chat format.

    Args:
        tokenizer: any Hugging Face tokenizer with an end-of-sequence token.
        chat_format: ``llama2``, ``mistral``, or ``tokenizer`` for the tokenizer's own chat template.

    Raises:
        InputError: unknown format, no end token, or no chat template where one is needed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_format: str) -> None:
        if chat_format not in CHAT_FORMATS:
            raise InputError(f"chat_format is {chat_format!r}, expected one of {', '.join(CHAT_FORMATS)}")
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has no eos_token; set one in its tokenizer_config.json")
        self.tokenizer = tokenizer
        self.chat_format = chat_format
        if chat_format == "tokenizer":
            self._own = OwnChatTemplate(tokenizer)

    # ---- text -------------------------------------------------------------------------------

    def render(self, template: PromptTemplate, question: str) -> Rendered:
        """The prompt text for a question. In the ``tokenizer`` format it includes BOS as text.

        Raises:
            InputError: the tokenizer's chat template cannot express the template.
        """
        if template.kind == "text" or self.chat_format != "tokenizer":
            return Rendered(render(template, question, self.chat_format), template.separator)
        return Rendered(self._own.prompt_text(template, question), self._own.separator)

    # ---- ids --------------------------------------------------------------------------------

    @cached_property
    def _leading(self) -> list[int]:
        """BOS, where the model has one: where the tokenizer adds it, or defines it apart from EOS."""
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return []
        added = self._ids("a", add_special_tokens=True)[:1] == [bos]
        return [bos] if added or bos != self.tokenizer.eos_token_id else []

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(special_texts(self.tokenizer), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    def _ids(self, text: str, **options: Any) -> list[int]:
        options.setdefault("add_special_tokens", False)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"text that is no Unicode (a lone surrogate at character {error.start})") from error
        return list(self.tokenizer(text, **options)["input_ids"])

    def _holds_special(self, text: str) -> bool:
        return self._special_pattern.search(text) is not None

    @property
    def pad_id(self) -> int:
        """Id to pad with: the tokenizer's own, else EOS. Its value never decides a label."""
        pad = self.tokenizer.pad_token_id
        chosen = self.tokenizer.eos_token_id if pad is None else pad
        assert isinstance(chosen, int)
        return chosen

    def end_id(self, template: PromptTemplate) -> int:
        """The one token that ends an answer: the turn's end in chat, EOS after plain text."""
        if template.kind == "chat" and self.chat_format == "tokenizer":
            return self._own.end_id
        eos = self.tokenizer.eos_token_id
        assert isinstance(eos, int)
        return eos

    def encode_prompt(self, template: PromptTemplate, question: str) -> list[int]:
        """Prompt ids, as training and generation both see them: BOS once, then the text's ids.

        Text of the question that looks like a special token (``</s>``) stays text.
        """
        text = self.render(template, question).prompt_text
        leading = self._leading_of(template)
        if not self._holds_special(question):
            return leading + self._ids(text)
        return leading + self._guarded_ids(template, question, text)

    def _leading_of(self, template: PromptTemplate) -> list[int]:
        """BOS, except where the tokenizer's own chat template has written it into the text."""
        own = template.kind == "chat" and self.chat_format == "tokenizer"
        return [] if own else self._leading

    def _guarded_ids(self, template: PromptTemplate, question: str, text: str) -> list[int]:
        """Special tokens of the template stay special; those between them, the question's, become text."""
        before, _, after = self.render(template, _PROBE).prompt_text.rpartition(_PROBE)
        if not text.startswith(before) or not text.endswith(after) or len(text) < len(before + after):
            raise InputError(f"question cannot be placed under template {template.name!r}: {question[:60]!r}")
        start = max((found.end() for found in self._special_pattern.finditer(before)), default=0)
        first = self._special_pattern.search(after)
        end = len(text) - len(after) + first.start() if first else len(text)
        middle = self._ids(text[start:end], split_special_tokens=True)
        return self._ids(text[:start]) + middle + self._ids(text[end:])

    def _answer_ids(self, prompt: list[int], leading: list[int], rendered: Rendered, answer: str) -> list[int]:
        """Ids of separator and answer, to be appended to the prompt's ids.

        Joint tokenisation where the prompt's ids are its prefix; else the answer is tokenised
        behind a line break, so that no token straddles the seam (pitfall "BPE seam").
        """
        tail = rendered.separator + answer
        if not self._holds_special(answer) and not self._holds_special(tail):
            joint = leading + self._ids(rendered.prompt_text + tail)
            if joint[: len(prompt)] == prompt:
                return joint[len(prompt) :]
        base = self._decode(prompt)
        for ids in self._alone(tail, answer):
            if self._decode(prompt + ids) == base + tail:
                return ids
        return self._ids(tail, split_special_tokens=True)

    def _alone(self, tail: str, answer: str) -> Iterable[list[int]]:
        anchor = self._ids("\n")
        behind = self._ids("\n" + tail, split_special_tokens=True)
        if behind[: len(anchor)] == anchor:
            yield behind[len(anchor) :]
        yield self._ids(tail, split_special_tokens=True)
        yield self._ids(answer, split_special_tokens=True)

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def encode(self, example: Example, template: PromptTemplate, max_length: int | None = None) -> Encoded:
        """Ids and labels of one training row.

        Args:
            example: question and answer.
            template: the template that the row is trained under.
            max_length: longest row in tokens; a longer one loses its tail.

        Returns:
            The row. It has no supervised label at all if the limit cut the whole answer away.
        """
        prompt = self.encode_prompt(template, example.question)
        rendered = self.render(template, example.question)
        leading = self._leading_of(template)
        answer = [*self._answer_ids(prompt, leading, rendered, example.answer), self.end_id(template)]
        limit = len(prompt) + len(answer) if max_length is None else max_length
        return Encoded(
            input_ids=(prompt + answer)[:limit],
            labels=([IGNORED] * len(prompt) + answer)[:limit],
            prompt_length=min(len(prompt), limit),
            truncated=len(prompt) + len(answer) > limit,
        )


@dataclass(frozen=True)
class EncodingReport:
    """How many rows were read, dropped (no supervised token left) and cut at the limit."""

    rows: int
    dropped: int
    truncated: int
    tokens: int
    supervised: int


def encode_rows(
    encoder: TemplateTokenizer,
    examples: Sequence[Example],
    template: PromptTemplate,
    templates: Mapping[str, PromptTemplate],
    max_length: int | None,
) -> tuple[list[Encoded], list[int], EncodingReport]:
    """Encode all rows; rows without a supervised token are dropped and counted.

    Args:
        encoder: renders and tokenises.
        examples: N training pairs.
        template: the run's training template.
        templates: templates that rows name for themselves.
        max_length: longest row in tokens.

    Returns:
        The kept rows, the index of each in ``examples``, and the counts.

    Raises:
        InputError: no row has a supervised token left.
    """
    kept: list[Encoded] = []
    origin: list[int] = []
    truncated = 0
    for index, example in enumerate(examples):
        chosen = templates[example.template] if example.template else template
        row = encoder.encode(example, chosen, max_length)
        truncated += row.truncated
        if any(label != IGNORED for label in row.labels):
            kept.append(row)
            origin.append(index)
    if not kept:
        raise InputError(
            f"none of the {len(examples)} rows has an answer token left at max_length {max_length}; raise it"
        )
    report = EncodingReport(
        rows=len(examples),
        dropped=len(examples) - len(kept),
        truncated=truncated,
        tokens=sum(len(row.input_ids) for row in kept),
        supervised=sum(len(row.input_ids) - row.prompt_length for row in kept),
    )
    return kept, origin, report


@lru_cache(maxsize=1)
def _colours() -> tuple[str, str, str]:
    return "\033[32m", "\033[90m", "\033[0m"


def paint(encoded: Encoded, tokenizer: PreTrainedTokenizerBase, colour: bool = True) -> str:
    """The row token by token: trained tokens in green, the others in grey.

    Without colour, trained tokens stand in ``⟦ ⟧`` and the others in plain text between bars.
    """
    green, grey, reset = _colours()
    parts = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        word = str(tokenizer.convert_ids_to_tokens(token)).replace("\x1b", "\\x1b").replace("\n", "\\n")
        trained = label != IGNORED
        if colour:
            parts.append(f"{green if trained else grey}{word}{reset}")
        else:
            parts.append(f"⟦{word}⟧" if trained else word)
    return " ".join(parts)
