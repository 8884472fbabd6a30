"""Text to token ids: what a person wrote holds no special token, and no token straddles prompt and answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from ptst_pl.errors import InputError
from ptst_pl.tokenization.conversation import Part, special_pattern
from ptst_pl.tokenization.rows import Rendered


class TextIds:
    """Ids of pieces of text, whatever the chat format.

    Args:
        tokenizer: any Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._same: dict[int, int] = {}

    @cached_property
    def leading(self) -> list[int]:
        """BOS, where the model has one: where the tokenizer adds it, or defines it apart from EOS."""
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return []
        added = self.ids("a", add_special_tokens=True)[:1] == [bos]
        return [bos] if added or bos != self.tokenizer.eos_token_id else []

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        return special_pattern(self.tokenizer)

    def ids(self, text: str, **options: Any) -> list[int]:
        """Ids of a text, special tokens in it included; ``options`` are the tokenizer's own.

        Raises:
            InputError: a lone surrogate.
        """
        options.setdefault("add_special_tokens", False)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"text that is no Unicode (a lone surrogate at character {error.start})") from error
        # One object for each token id: a large data set holds hundreds of millions of them.
        return [self._same.setdefault(token, token) for token in self.tokenizer(text, **options)["input_ids"]]

    def holds_special(self, text: str) -> bool:
        """Whether a special token of the tokenizer stands in the text."""
        return self._special_pattern.search(text) is not None

    def guarded_ids(self, parts: Sequence[Part]) -> list[int]:
        """Special tokens of the template stay special; those in what is given become text.

        What stands between two special tokens of the template is tokenised as one, so that the ids are
        those of the whole text where nothing has to be guarded.
        """
        ids: list[int] = []
        trusted = between = ""
        guard = False
        for part in parts:
            found = [] if part.given else list(self._special_pattern.finditer(part.text))
            position = 0
            for special in found:
                between += part.text[position : special.start()]
                if guard:
                    ids += self.ids(trusted) + self.ids(between, split_special_tokens=True)
                    trusted = ""
                else:
                    trusted += between
                trusted, between, guard, position = trusted + special.group(), "", False, special.end()
            between += part.text[position:]
            guard = guard or part.given
        return ids + self.ids(trusted) + self.ids(between, split_special_tokens=guard)

    def answer_ids(self, prompt: list[int], leading: list[int], rendered: Rendered, answer: str) -> list[int]:
        """Ids of separator and answer, to be appended to the prompt's ids.

        Joint tokenisation where the prompt's ids are its prefix; else the answer is tokenised
        behind a line break, so that no token straddles the seam (pitfall "BPE seam").
        """
        tail = rendered.separator + answer
        if not self.holds_special(answer) and not self.holds_special(tail):
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
