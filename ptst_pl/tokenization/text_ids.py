"""Text to token ids: what a person wrote holds no special token, and no token straddles prompt and answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.tokenization.chat_template import special_texts
from ptst_pl.tokenization.guarded_tokenizer import GuardedTokenizer, guarded, pattern_of, steering_texts
from ptst_pl.tokenization.rows import Part, Rendered

_NONE = pattern_of(())


class TextIds:
    """Ids of pieces of text, whatever the chat format.

    Args:
        tokenizer: any Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    @cached_property
    def leading(self) -> list[int]:
        """BOS, where the model has one: where the tokenizer adds it, or defines it apart from EOS."""
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return []
        added = self.ids("a", add_special_tokens=True)[:1] == [bos]
        return [bos] if added or bos != self.tokenizer.eos_token_id else []

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return pattern_of(special_texts(self.tokenizer))

    @cached_property
    def _steering(self) -> re.Pattern[str]:
        return pattern_of(steering_texts(self.tokenizer))

    @cached_property
    def _unmarked(self) -> re.Pattern[str]:
        """Steering texts that are no special tokens: in an answer they stay tokens (its thoughts)."""
        return pattern_of(steering_texts(self.tokenizer) - set(special_texts(self.tokenizer)))

    @cached_property
    def _guarded(self) -> GuardedTokenizer:
        return guarded(self.tokenizer)

    def ids(self, text: str, **options: Any) -> list[int]:
        """Ids of a text, special tokens in it included; ``options`` are the tokenizer's own.

        Raises:
            InputError: a lone surrogate.
        """
        options.setdefault("add_special_tokens", False)
        _check_unicode(text)
        return list(self.tokenizer(text, return_attention_mask=False, **options)["input_ids"])

    def holds_special(self, text: str) -> bool:
        """Whether a special token of the tokenizer stands in the text."""
        return self._special.search(text) is not None

    def steers(self, text: str) -> bool:
        """Whether a special token stands in the text, or another added token that steers a conversation."""
        return self._steering.search(text) is not None

    def guarded_ids(self, parts: Sequence[Part], separator: str = "", answer: str = "") -> list[int]:
        """Ids of a prompt, and of what stands behind it: the template's special tokens stay special, those in what is
        given become text, as do special tokens in the answer.

        Raises:
            InputError: a tokenizer that cannot do it, or a lone surrogate.
        """
        _check_unicode("".join([*(part.text for part in parts), answer]))
        pieces = [(part.text, _NONE if part.given else None) for part in parts]
        return self._guarded.ids([*pieces, (separator, None), (answer, self._unmarked)])

    def answer_ids(
        self, prompt: list[int], leading: list[int], rendered: Rendered, answer: str, parts: Sequence[Part] = ()
    ) -> list[int]:
        """Ids of separator and answer, to be appended to the prompt's ids.

        Joint tokenisation where the prompt's ids are its prefix; else the answer is tokenised
        behind a line break, so that no token straddles the seam (pitfall "BPE seam").

        Args:
            prompt: the prompt's ids.
            leading: those of them that its text does not hold.
            rendered: the prompt's text, and the separator.
            answer: the answer.
            parts: the prompt's text in parts, where something in it was guarded.
        """
        tail = rendered.separator + answer
        if parts or self.holds_special(answer):
            joint = leading + self.guarded_ids(parts or [Part(rendered.prompt_text)], rendered.separator, answer)
        else:
            joint = leading + self.ids(rendered.prompt_text + tail)
        if joint[: len(prompt)] == prompt:
            return joint[len(prompt) :]
        base = self.decode(prompt)
        for ids in self._alone(tail, answer):
            if self.decode(prompt + ids) == base + tail:
                return ids
        return self.ids(tail, split_special_tokens=True)

    def _alone(self, tail: str, answer: str) -> Iterable[list[int]]:
        anchor = self.ids("\n")
        behind = self.ids("\n" + tail, split_special_tokens=True)
        if behind[: len(anchor)] == anchor:
            yield behind[len(anchor) :]
        yield self.ids(tail, split_special_tokens=True)
        yield self.ids(answer, split_special_tokens=True)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens written out."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"text that is no Unicode (a lone surrogate at character {error.start})") from error
