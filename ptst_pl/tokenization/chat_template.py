"""The tokenizer's own chat template: with or without a system role, and with nothing that it invents.

Templates are Jinja programs of the models' makers. What they do is found out by rendering probes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from itertools import takewhile
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.templates import PromptTemplate, to_messages
from ptst_pl.templates.thoughts import ends_open, opened_block
from ptst_pl.tokenization.chat_options import ChatOptions
from ptst_pl.tokenization.end_of_turn import first_marker, next_roles_token

_USER, _NEXT, _SYSTEM, _ANSWER = "userprobe", "nextprobe", "systemprobe", "answerprobe"
_MARKER = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")
_DATE_LINE = re.compile(r"[\w ]*\bdate: ", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_DATE = date(2024, 7, 26)

SWITCHES: Mapping[str, Any] = {"enable_thinking": False, "thinking": False, "date_string": _DATE.strftime("%d %b %Y")}
"""Told to every chat template, for those that read it: no thinking block, and a date that is the same tomorrow."""
# A chat template is a program: what goes wrong in one is the template's, whatever the type.
_FAULTS = (TypeError, LookupError, AttributeError, ArithmeticError, ValueError, RecursionError, MemoryError)
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

    Args:
        tokenizer: any Hugging Face tokenizer with a chat template.
        options: what the chat template leaves open.

    Raises:
        InputError: the tokenizer has no chat template, or it cannot express what is asked.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, options: ChatOptions | None = None) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                "chat_format is 'tokenizer' but the tokenizer has no chat template; "
                "use chat_format llama2 or mistral, or a tokenizer with one"
            )
        self.tokenizer, self.options = tokenizer, options or ChatOptions()
        self._keeps: dict[bool, bool] = {}
        self._source = with_fixed_date(str(tokenizer.get_chat_template()))
        self._check_options()

    def _check_options(self) -> None:
        """Refuse options that change nothing."""
        if self.options.thinking == "open" and not ends_open(self._probes[0]):
            raise InputError(
                "chat_options.thinking is 'open', but the tokenizer's chat template (with enable_thinking false) opens "
                "no block of thoughts at a prompt's end; leave it out"
            )
        if self.options.preamble == "kept" and not self.preamble:
            raise InputError(
                "chat_options.preamble is 'kept', but the tokenizer's chat template writes no text of its own that "
                "cannot be switched off; leave it out"
            )

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
        except (jinja2.TemplateError, *_FAULTS) as error:
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
        taken, refusals = None, []
        for system in ([], [{"role": "system", "content": ""}]):
            if system and not self._has_system_role:
                break
            try:
                text = self._apply([*system, {"role": "user", "content": _USER}], prompt=True)
            except InputError as error:
                refusals.append(error)
                continue
            if not self.preamble_in(text):
                return system
            taken = system if taken is None else taken
        if taken is not None and self.options.preamble == "kept":
            return taken
        if refusals and not self._has_system_role:
            raise refusals[0]
        if len(refusals) == 2:
            raise InputError(
                "the tokenizer's chat template wants a system prompt, so a template without one cannot be had; "
                "use chat_format llama2 or mistral, or edit the tokenizer's chat template"
            )
        raise InputError(
            "the tokenizer's chat template puts in a default system prompt of its own that cannot be "
            "switched off, so a template without a system prompt cannot be had; set chat_options.preamble: kept if it "
            "is no safety prompt, use chat_format llama2 or mistral, or edit the tokenizer's chat template"
        )

    @cached_property
    def preamble(self) -> str:
        """Text of the chat template's own before every conversation without a system prompt; empty for none."""
        return self.preamble_in(self._apply([*self._no_system, {"role": "user", "content": _USER}], prompt=True))

    def preamble_in(self, text: str) -> str:
        """Words of the chat template's own before the user's text in a rendered probe.

        Role names, markers and date lines (Llama 3.1's "Today Date: ...") do not count.
        """
        before = text.partition(_USER)[0]
        filled = self._in_system_slot(before)
        if filled:
            return filled
        for special in special_texts(self.tokenizer):
            before = before.replace(special, "\n")
        lines = [line for line in _MARKER.sub("\n", before).splitlines() if not _DATE_LINE.match(line)]
        return " ".join(line.strip() for line in lines if len(_WORD.findall(line)) > 3)

    def _in_system_slot(self, before: str) -> str:
        """What stands just where a system prompt would, however short it is."""
        if not self._has_system_role:
            return ""
        probe = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        opening, _, rest = self._apply(probe, prompt=True).partition(_SYSTEM)
        closing = rest.partition(_USER)[0]
        if not before.startswith(opening) or not before.endswith(closing):
            return ""
        return before[len(opening) : len(before) - len(closing)].strip()

    @property
    def separator(self) -> str:
        """Text between the prompt and an answer."""
        return self._turn_ends[1]

    @property
    def end_id(self) -> int:
        """The token that ends an answer: the first marker behind it, else EOS."""
        return self._turn_ends[2]

    def answer(self, answer: str) -> tuple[str, str]:
        """Separator and answer; an answer with thoughts of its own goes on in the block that the prompt has opened."""
        block = self._thoughts
        if block is None or self.options.thinking == "closed" or block[1] not in answer:
            return self.separator, answer
        return "", answer.removeprefix(block[0]).lstrip("\n")

    def keeps_earlier(self, template: PromptTemplate) -> bool:
        """Whether an answer is written in the same way, behind the same prompt, after the conversation has gone on."""
        system = template.system is not None
        if system not in self._keeps:
            probe = replace(template, system=_SYSTEM if system else None, shots=())
            first, answer = self.messages(probe, _USER), {"role": "assistant", "content": _ANSWER}
            try:
                whole = self._apply([*first, answer, {"role": "user", "content": _NEXT}, answer], prompt=False)
                self._keeps[system] = whole.startswith(self.text(first, prompt=True))
            except InputError:
                return True  # it takes no second turn, and says so where a row has one
        return self._keeps[system]

    @cached_property
    def _turn_ends(self) -> tuple[str, str, int]:
        """What opens an answer with special tokens, what then separates it, and the id of what ends it."""
        prompt, whole = self._probes
        start = whole.find(_ANSWER)
        end = self._end_of(whole[start + len(_ANSWER) :])
        if self._thoughts is not None:
            closing = f"\n{self._thoughts[1]}\n\n"
            return (closing, "", end) if self.options.thinking == "closed" else ("", closing, end)
        if not whole.startswith(prompt) or start < len(prompt):
            raise InputError(
                "the tokenizer's chat template renders a prompt that is no prefix of the whole "
                "conversation, so training and generation would see different prompts; "
                "use chat_format llama2 or mistral, or edit the chat template"
            )
        between = whole[len(prompt) : start]
        opened = max((between.rfind(s) + len(s) for s in special_texts(self.tokenizer) if s in between), default=0)
        return between[:opened], between[opened:], end

    @cached_property
    def _thoughts(self) -> tuple[str, str] | None:
        """Opening and closing mark of the block of thoughts that a prompt opens and a whole conversation leaves out."""
        prompt, whole = self._probes
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, whole, strict=False)))
        return None if same == len(prompt) else opened_block(prompt[same:])

    @property
    def opens_thoughts(self) -> bool:
        """Whether the chat template opens a block of thoughts at the prompt's end."""
        return self._thoughts is not None

    @cached_property
    def _first_turn(self) -> list[dict[str, str]]:
        """A system turn, where the chat template takes no conversation without one."""
        try:
            self._apply([{"role": "user", "content": _USER}], prompt=True)
        except InputError:
            if not self._has_system_role:
                raise
            return [{"role": "system", "content": _SYSTEM}]
        return []

    @cached_property
    def _probes(self) -> tuple[str, str]:
        """A prompt, and the whole conversation with an answer; with a system turn where one is needed."""
        first, user = self._first_turn, {"role": "user", "content": _USER}
        prompt = self._apply([*first, user], prompt=True)
        if _USER not in prompt:
            raise InputError(
                "the tokenizer's chat template leaves the user's text out (some want a list of content parts "
                "instead of text); use chat_format llama2 or mistral, or edit the chat template"
            )
        answer = {"role": "assistant", "content": _ANSWER}
        return prompt, self._apply([*first, user, answer], prompt=False)

    def _end_of(self, tail: str) -> int:
        """The first marker in what follows an answer, else the next role's, else EOS."""
        found = first_marker(self.tokenizer, tail)
        return next_roles_token(self.tokenizer, self._behind_an_answer) if found is None else found

    @property
    def _behind_an_answer(self) -> str:
        """What stands between an answer and the next question; empty if that cannot be told."""
        answer = {"role": "assistant", "content": _ANSWER}
        following = {"role": "user", "content": _NEXT}
        try:
            text = self._apply([*self._first_turn, {"role": "user", "content": _USER}, answer, following], prompt=False)
        except InputError:
            return ""
        return text.partition(_ANSWER)[2].partition(_NEXT)[0]
