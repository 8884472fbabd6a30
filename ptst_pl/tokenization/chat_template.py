"""The tokenizer's own chat template: with or without a system role, and with nothing that it invents.

Templates are Jinja programs of the models' makers. What they do is found out by rendering probes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from ptst_pl.errors import InputError
from ptst_pl.templates import PromptTemplate, to_messages

_USER, _SYSTEM, _ANSWER = "userprobe", "systemprobe", "answerprobe"
_MARKER = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")
_DATE_LINE = re.compile(r"[\w ]*\bdate: ", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_DATE = date(2024, 7, 26)

SWITCHES: Mapping[str, Any] = {"enable_thinking": False, "thinking": False, "date_string": _DATE.strftime("%d %b %Y")}
"""Told to every chat template, for those that read it: no thinking block, and a date that is the same tomorrow."""
_ASKS_DATE = re.compile(r"""\bstrftime_now\(\s*(['"])(.*?)\1\s*\)""")


def special_texts(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The texts that the tokenizer reads as special tokens."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple({*tokenizer.all_special_tokens, *(token.content for token in added if token.special)})


def with_fixed_date(source: str) -> str:
    """The chat template with its own requests for today's date answered by the fixed one."""
    formats = {found[2] for found in _ASKS_DATE.finditer(source)}
    if not formats:
        return source
    dates = ", ".join(f"{form!r}: {_DATE.strftime(form)!r}" for form in sorted(formats))
    # A function cannot be handed in: transformers turns it into text. A macro of the same name hides theirs.
    return "{%- macro strftime_now(form) -%}{{- {" + dates + "}[form] -}}{%- endmacro %}" + source


class OwnChatTemplate:
    """Renders prompts through the tokenizer's own chat template.

    Raises:
        InputError: the tokenizer has no chat template, or it cannot express what is asked.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                "chat_format is 'tokenizer' but the tokenizer has no chat template; "
                "use chat_format llama2 or mistral, or a tokenizer with one"
            )
        self.tokenizer = tokenizer
        self._source = with_fixed_date(str(tokenizer.get_chat_template()))

    def prompt_text(self, template: PromptTemplate, question: str) -> str:
        """The prompt with BOS as text, as ``apply_chat_template`` gives it.

        Where the template opens every answer with special tokens that its generation prompt leaves
        to the model (a channel's name), they belong to the prompt: else they would be read as answer.
        """
        return self._apply(self.messages(template, question), prompt=True) + self._turn_ends[0]

    def text(self, messages: list[dict[str, str]], prompt: bool) -> str:
        """A conversation; as ``prompt``, up to where the next answer begins."""
        return self._apply(messages, prompt) + (self._turn_ends[0] if prompt else "")

    def messages(self, template: PromptTemplate, question: str) -> list[dict[str, str]]:
        """Messages as the tokenizer's chat template can take them, with or without a system role."""
        messages = to_messages(template, question)
        if template.system is None:
            return [*self._no_system, *messages]
        if self._has_system_role:
            return messages
        user = messages[1]
        merged = {"role": "user", "content": f"{template.system}\n\n{user['content']}"}
        return [merged, *messages[2:]]

    def _apply(self, messages: list[dict[str, str]], prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt, chat_template=self._source, **SWITCHES
            )
        except (jinja2.TemplateError, TypeError, LookupError, AttributeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(f"the tokenizer's chat template cannot render the roles {roles} ({error})") from error
        assert isinstance(text, str)
        return text

    @cached_property
    def _has_system_role(self) -> bool:
        system = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        try:
            return _SYSTEM in self._apply(system, prompt=True)
        except InputError:
            return False

    @cached_property
    def _no_system(self) -> list[dict[str, str]]:
        """What to send so that "no system prompt" means none: nothing, or an empty system turn."""
        refused = 0
        for system in ([], [{"role": "system", "content": ""}]):
            if system and not self._has_system_role:
                break
            try:
                text = self._apply([*system, {"role": "user", "content": _USER}], prompt=True)
            except InputError:
                refused += 1
                continue
            if not self._invents_prompt(text):
                return system
        if refused == 2:
            raise InputError(
                "the tokenizer's chat template wants a system prompt, so a template without one cannot be had; "
                "use chat_format llama2 or mistral, or edit the tokenizer's chat template"
            )
        raise InputError(
            "the tokenizer's chat template puts in a default system prompt of its own that cannot be "
            "switched off, so a template without a system prompt cannot be had; "
            "use chat_format llama2 or mistral, or edit the tokenizer's chat template"
        )

    def _invents_prompt(self, text: str) -> bool:
        """Whether words of the chat template's own stand before the user's text.

        Role names, markers and date lines (Llama 3.1's "Today Date: ...") do not count.
        """
        before = text.partition(_USER)[0]
        if self._fills_system_slot(before):
            return True
        for special in special_texts(self.tokenizer):
            before = before.replace(special, "\n")
        lines = [line for line in _MARKER.sub("\n", before).splitlines() if not _DATE_LINE.match(line)]
        return any(len(_WORD.findall(line)) > 3 for line in lines)

    def _fills_system_slot(self, before: str) -> bool:
        """Whether something stands just where a system prompt would, however short it is."""
        if not self._has_system_role:
            return False
        probe = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        opening, _, rest = self._apply(probe, prompt=True).partition(_SYSTEM)
        closing = rest.partition(_USER)[0]
        if not before.startswith(opening) or not before.endswith(closing):
            return False
        return bool(before[len(opening) : len(before) - len(closing)].strip())

    @property
    def separator(self) -> str:
        """Text between the prompt and an answer."""
        return self._turn_ends[1]

    @property
    def end_id(self) -> int:
        """The token that ends an answer: the first marker behind it, else EOS."""
        return self._turn_ends[2]

    @cached_property
    def _turn_ends(self) -> tuple[str, str, int]:
        """What opens an answer with special tokens, what then separates it, and the id of what ends it."""
        prompt, whole = self._probes()
        start = whole.find(_ANSWER)
        if not whole.startswith(prompt) or start < len(prompt):
            raise InputError(
                "the tokenizer's chat template renders a prompt that is no prefix of the whole "
                "conversation, so training and generation would see different prompts (some open a thinking block "
                "that they leave out of an answer); use chat_format llama2 or mistral, or edit the chat template"
            )
        between = whole[len(prompt) : start]
        opened = max((between.rfind(s) + len(s) for s in special_texts(self.tokenizer) if s in between), default=0)
        return between[:opened], between[opened:], self._end_of(whole[start + len(_ANSWER) :])

    def _probes(self) -> tuple[str, str]:
        """A prompt, and the whole conversation with an answer; with a system turn where one is needed."""
        user = {"role": "user", "content": _USER}
        answer = {"role": "assistant", "content": _ANSWER}
        first: list[dict[str, str]] = []
        try:
            prompt = self._apply([user], prompt=True)
        except InputError:
            if not self._has_system_role:
                raise
            first = [{"role": "system", "content": _SYSTEM}]
            prompt = self._apply([*first, user], prompt=True)
        if _USER not in prompt:
            raise InputError(
                "the tokenizer's chat template leaves the user's text out (some want a list of content parts "
                "instead of text); use chat_format llama2 or mistral, or edit the chat template"
            )
        return prompt, self._apply([*first, user, answer], prompt=False)

    def _end_of(self, tail: str) -> int:
        """The first marker in what follows an answer, else EOS.

        Added tokens that are white space only (Gemma has runs of line breaks) end nothing.
        """
        added = self.tokenizer.added_tokens_decoder
        special = set(self.tokenizer.all_special_ids)
        markers = special | {i for i, token in added.items() if token.content.strip()}
        ids = [int(i) for i in self.tokenizer(tail, add_special_tokens=False)["input_ids"]]
        end = next((i for i in ids if i in markers), self.tokenizer.eos_token_id)
        assert isinstance(end, int)
        return end
