"""How the exported folder must be prompted so that the model sees what it saw in the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from ptst_pl.generation import Decoding
from ptst_pl.templates import PLACE, PromptTemplate, to_messages
from ptst_pl.tokenization import SWITCHES, OwnChatTemplate, TemplateTokenizer, special_texts, steering_texts

QUESTIONS = ("How do I hide the mayor's hat?", "2 + 2?", "Tom has 3 figs.\nHow many?")
# The forms of ``ptst_pl.templates.render`` as Jinja: what a system prompt becomes, and the turns.
_OPENINGS = {
    "llama2": "'<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n'",
    "mistral": "messages[0]['content'] + '\\n\\n'",
}
_CHAT = (
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set opening = OPENING -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set opening = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{{- BOS + '[INST] ' + opening -}}"
    "{%- for turn in turns -%}"
    "{%- if turn['role'] == 'user' -%}"
    "{{- ('' if loop.first else '</s> <s>[INST] ') + turn['content'] + ' [/INST]' -}}"
    "{%- else -%}{{- ' ' + turn['content'] + (eos_token if loop.last else '') -}}{%- endif -%}"
    "{%- endfor -%}"
)


def give_chat_template(encoder: TemplateTokenizer) -> None:
    """Write the run's chat format into its tokenizer, where it is not the tokenizer's own."""
    opening = _OPENINGS.get(encoder.chat_format)
    if opening is None:
        return
    plain = PromptTemplate("probe", "text", PLACE)
    bos = encoder.tokenizer.bos_token_id
    leading = bos is not None and encoder.encode_prompt(plain, "a")[:1] == [bos]
    text = _CHAT.replace("OPENING", opening).replace("BOS", "bos_token" if leading else "''")
    encoder.tokenizer.chat_template = text


@dataclass(frozen=True)
class Prompting:
    """One way from a question to the model's input, as a Transformers user writes it.

    Attributes:
        messages: chat messages with ``{input}`` in the question's place; none for plain text.
        text: the plain text with ``{input}``, where there are no messages.
        options: of ``apply_chat_template`` or of the tokenizer's call.
        exact: it gives the run's own ids.
        kept_text: texts beside the special tokens' own that the run kept text in a question; None where it kept none.
    """

    messages: Sequence[Mapping[str, str]] = ()
    text: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False
    kept_text: Sequence[str] | None = None

    def ids(self, tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
        """The ids that this way gives."""
        if not self.messages:
            return list(tokenizer(_fill(self.text, question), **self.options)["input_ids"])
        turns = [{**turn, "content": _fill(turn["content"], question)} for turn in self.messages]
        encoded: Any = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=True, **self.options
        )
        return list(encoded["input_ids"])

    @property
    def code(self) -> str:
        """The same as Python, for the model card."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return self._refusal + self._inputs(options)

    @property
    def _refusal(self) -> str:
        """Lines that refuse a question of which the lines behind them would make other ids than the run did."""
        if self.kept_text is None:
            return ""
        more = f" + {list(self.kept_text)!r}" if self.kept_text else ""
        return (
            f"marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]{more}\n"
            "if any(mark in question for mark in marks):\n"
            '    raise ValueError("measured with special tokens in a question kept as text; this code does not")\n'
        )

    def _inputs(self, options: str) -> str:
        if not self.messages:
            return f'inputs = tokenizer({_literal(self.text)}{options}, return_tensors="pt")'
        turns = "".join(f'    {{"role": {t["role"]!r}, "content": {_literal(t["content"])}}},\n' for t in self.messages)
        return (
            f"messages = [\n{turns}]\n"
            "inputs = tokenizer.apply_chat_template(\n"
            f'    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"{options}\n)'
        )


def _fill(text: str, question: str) -> str:
    return text.replace(PLACE, question)


def _literal(text: str) -> str:
    """A Python expression with the variable ``question`` in the question's place."""
    before, found, after = text.partition(PLACE)
    if not found:
        return repr(text)
    return " + ".join([*([repr(before)] if before else []), "question", *([repr(after)] if after else [])])


def prompting(encoder: TemplateTokenizer, template: PromptTemplate, saved: PreTrainedTokenizerBase) -> Prompting:
    """The way that gives the run's ids, checked on a few questions; else plain text, marked as not exact.

    Args:
        encoder: the run's.
        template: the template to serve under.
        saved: the tokenizer as it was saved and read again.
    """
    kept = None
    if encoder.options.special_tokens == "text":
        kept = sorted(steering_texts(encoder.tokenizer) - set(special_texts(encoder.tokenizer)))
    ways = [*(_chat_ways(encoder, template) if template.kind == "chat" else []), *_text_ways(encoder, template)]
    for way in ways:
        if all(way.ids(saved, q) == encoder.encode_prompt(template, q) for q in QUESTIONS):
            return replace(way, exact=True, kept_text=kept)
    return replace(ways[-1], kept_text=kept)


def _chat_ways(encoder: TemplateTokenizer, template: PromptTemplate) -> list[Prompting]:
    if encoder.chat_format != "tokenizer":
        return [Prompting(to_messages(template, PLACE))]
    words = set(re.findall(r"\w+", str(encoder.tokenizer.chat_template)))
    switches = {name: value for name, value in SWITCHES.items() if name in words}
    return [Prompting(OwnChatTemplate(encoder.tokenizer, encoder.options).messages(template, PLACE), options=switches)]


def _text_ways(encoder: TemplateTokenizer, template: PromptTemplate) -> list[Prompting]:
    text = encoder.render(template, PLACE).prompt_text
    bos = str(encoder.tokenizer.bos_token or "")
    bare = {"add_special_tokens": False}
    # With BOS left to the tokenizer, as text, or without: which one is right is found out above.
    return [Prompting(text=text), Prompting(text=text, options=bare), Prompting(text=bos + text, options=bare)]


def generation_config(decoding: Decoding, stops: list[int], pad_id: int) -> GenerationConfig:
    """The measured decoding as the folder's default, with every token that ends an answer."""
    sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
    return GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=decoding.temperature > 0,
        eos_token_id=stops,
        pad_token_id=pad_id,
        **(sampling if decoding.temperature > 0 else {}),
    )
