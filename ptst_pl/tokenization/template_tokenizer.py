"""From template and text to token ids and labels: the only place that decides BOS, end token and mask.

The prompt ids of a training row are exactly the ids that generation is given for the same question
and template; the answer's ids are appended to them, never re-tokenised across the seam.

A row with earlier turns is trained on all its assistant turns, each with its end token. The template wraps
every user turn; its system prompt and shots stand before the first. Turns are joined as in the paper's
In-context Defense under ``llama2`` (``{answer}</s> <s>[INST] ``), without a second BOS under ``mistral``
(Mistral's documentation), and as ``apply_chat_template`` does under ``tokenizer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.templates import CHAT_FORMATS, PLACE, Placed, PromptTemplate, place_row, render
from ptst_pl.tokenization.chat_options import ChatOptions
from ptst_pl.tokenization.chat_template import OwnChatTemplate
from ptst_pl.tokenization.conversation import Turn, fit_pieces, own_turns, probe
from ptst_pl.tokenization.rows import IGNORED, Encoded, Example, Part, Rendered
from ptst_pl.tokenization.text_ids import TextIds


class TemplateTokenizer:
    """Renders and tokenises questions and answers under one chat format.

    Args:
        tokenizer: any Hugging Face tokenizer with an end-of-sequence token.
        chat_format: ``llama2``, ``mistral``, or ``tokenizer`` for the tokenizer's own chat template.
        options: special tokens in questions, and what a chat template leaves open.

    Raises:
        InputError: unknown format, no end token, or no chat template where one is needed.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, chat_format: str, options: ChatOptions | None = None
    ) -> None:
        if chat_format not in CHAT_FORMATS:
            raise InputError(f"chat_format is {chat_format!r}, expected one of {', '.join(CHAT_FORMATS)}")
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has no eos_token; set one in its tokenizer_config.json")
        self.tokenizer = tokenizer
        self.chat_format, self.options = chat_format, options or ChatOptions()
        self.text = TextIds(tokenizer)
        unused = [
            name for name in ("thinking", "preamble") if getattr(self.options, name) != getattr(ChatOptions, name)
        ]
        if unused and chat_format != "tokenizer":
            raise InputError(
                f"chat_options.{unused[0]} is {getattr(self.options, unused[0])!r}, which is for the tokenizer's own "
                f"chat template, but chat_format is {chat_format!r}; leave it out, or set chat_format: tokenizer"
            )
        if chat_format == "tokenizer":
            self._own = OwnChatTemplate(tokenizer, self.options)

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

        Text of the question that looks like a special token (``</s>``) stays text, unless the options say otherwise.
        """
        return self._prompt_ids(Placed(template, question))

    def prefix_ids(self, template: PromptTemplate, question: str, prefix: str) -> list[int]:
        """Ids of an answer's beginning, separator included, to be appended to ``encode_prompt``: as training has them.

        Text in ``prefix`` that looks like a special token stays text.
        """
        if not prefix:
            return []
        placed = Placed(template, question)
        return self._answer_ids(placed, self._prompt_ids(placed), prefix)

    def opens_thoughts(self, template: PromptTemplate) -> bool:
        """Whether the tokenizer's own chat template opens a block of thoughts at a prompt's end."""
        return template.kind == "chat" and self.chat_format == "tokenizer" and self._own.opens_thoughts

    def trains_last_only(self, template: PromptTemplate) -> bool:
        """Whether only the last answer of a row with several turns can be trained on, behind the prompt asking it."""
        own = template.kind == "chat" and self.chat_format == "tokenizer"
        return own and not self._own.keeps_earlier(template)

    def preamble(self, template: PromptTemplate) -> str:
        """A text that the tokenizer's own chat template writes before every question; empty for none."""
        own = template.kind == "chat" and self.chat_format == "tokenizer" and template.system is None
        return self._own.preamble if own else ""

    def _prompt_ids(self, placed: Placed) -> list[int]:
        leading, guarded = self._leading_of(placed.template), self._guarded_parts(placed)
        if guarded:
            return leading + self.text.guarded_ids(guarded)
        return leading + self.text.ids(self.render(placed.template, placed.question).prompt_text)

    def _guarded_parts(self, placed: Placed) -> list[Part]:
        """The prompt in parts, where something that is given has to stay text; else none."""
        given = (placed.question, placed.given_system)
        if self.options.special_tokens == "served" or not any(map(self.text.steers, given)):
            return []
        return self._prompt_parts(placed, self.render(placed.template, placed.question).prompt_text)

    def _answer_ids(self, placed: Placed, prompt: list[int], answer: str) -> list[int]:
        template = placed.template
        rendered = self.render(template, placed.question)
        if template.kind == "chat" and self.chat_format == "tokenizer":
            separator, answer = self._own.answer(answer)
            rendered = Rendered(rendered.prompt_text, separator)
        return self.text.answer_ids(prompt, self._leading_of(template), rendered, answer, self._guarded_parts(placed))

    def _leading_of(self, template: PromptTemplate) -> list[int]:
        """BOS, except where the tokenizer's own chat template has written it into the text."""
        own = template.kind == "chat" and self.chat_format == "tokenizer"
        return [] if own else self.text.leading

    def _prompt_parts(self, placed: Placed, text: str) -> list[Part]:
        """The prompt cut into the template's text and what the row gives; a chat template may trim the latter."""
        template, given, probes = placed.template, [placed.question], [probe(1)]
        if placed.given_system:
            template = template.with_given_system(placed.given_system, probe(0))
            given, probes = [placed.given_system, *given], [probe(0), *probes]
        fitted = fit_pieces(self.render(template, probe(1)).prompt_text, probes, given, text)
        if fitted is None:
            name = placed.template.name
            raise InputError(f"question cannot be placed under template {name!r}: {placed.question[:60]!r}")
        pieces, chosen = fitted
        between = [part for piece, own in zip(pieces, chosen, strict=False) for part in (Part(piece), Part(own, True))]
        return [*between, Part(pieces[-1])]

    def encode(self, example: Example, template: PromptTemplate, max_length: int | None = None) -> Encoded:
        """Ids and labels of one training row.

        Args:
            example: question and answer, perhaps with earlier turns.
            template: the template that the row is trained under.
            max_length: longest row in tokens; a longer one loses its tail.

        Returns:
            The row. It has no supervised label at all if the limit cut the whole answer away, or it was left out.

        Raises:
            InputError: earlier turns under a text template, or a chat template that cannot take the row.
        """
        ids: list[int] = []
        labels: list[int] = []
        end = self.end_id(template)
        turns = list(self._turn_ids(example, template))
        trained = True
        # Where only the last answer can be trained on, there is one turn.
        for number, (prompt, answer) in enumerate(turns, len(example.pairs) - len(turns)):
            if ids:
                # The prompt of a later turn begins with the end token of the answer before it.
                ids, labels = ids + prompt[:1], [*labels, end if trained else IGNORED]
                prompt = prompt[1:]
            trained = number not in example.left_out
            told = answer if trained else [IGNORED] * len(answer)
            ids, labels = ids + prompt + answer, labels + [IGNORED] * len(prompt) + told
        ids, labels = [*ids, end], [*labels, end if trained else IGNORED]
        limit = len(ids) if max_length is None else max_length
        first = next((place for place, label in enumerate(labels) if label != IGNORED), len(labels))
        return Encoded(ids[:limit], labels[:limit], min(first, limit), truncated=len(ids) > limit)

    def conversation_ids(self, example: Example, template: PromptTemplate) -> list[int]:
        """Ids of a conversation up to its last question, which is to be answered: as a training row has them.

        Raises:
            InputError: as ``encode``.
        """
        *before, (prompt, _) = self._turn_ids(replace(example, answer="x"), template)
        return [token for asked, answered in before for token in asked + answered] + prompt

    def _turn_ids(self, example: Example, template: PromptTemplate) -> Iterator[tuple[list[int], list[int]]]:
        """Prompt and answer ids of every turn."""
        placed = place_row(template, example.pairs[0][0], example.system, example.context)
        if example.turns and template.kind == "text":
            raise InputError(
                f"template {template.name!r} is plain text and cannot hold a row with earlier turns "
                f"({example.question[:60]!r}); use a chat template"
            )
        if not example.turns or self.chat_format != "tokenizer":
            prompt = self._prompt_ids(placed)
            yield prompt, self._answer_ids(placed, prompt, example.pairs[0][1])
            turns = [self._later_turn(template, *pair) for pair in example.pairs[1:]]
        else:
            first = (placed.question, example.pairs[0][1])
            turns = own_turns(self._own, placed, (first, *example.pairs[1:]))
        for turn in turns:
            text = "".join(part.text for part in turn.prompt)
            given = any(part.given and self.text.steers(part.text) for part in turn.prompt)
            parts = turn.prompt if given and self.options.special_tokens == "text" else ()
            prompt = self.text.guarded_ids(parts) if parts else self.text.ids(text)
            yield prompt, self.text.answer_ids(prompt, [], Rendered(text, turn.separator), turn.answer, parts)

    def _later_turn(self, template: PromptTemplate, question: str, answer: str) -> Turn:
        """A turn after the first in the llama2 and mistral formats."""
        before, _, after = template.user.partition(PLACE)
        bos = f" {self.tokenizer.bos_token}" if self.text.leading and self.chat_format == "llama2" else ""
        space = " " if self.chat_format == "llama2" and not bos else ""
        opening = f"{self.tokenizer.eos_token}{bos}{space}[INST] {before}"
        closing = f"{after}{template.before_close}[/INST]"
        return Turn((Part(opening), Part(question, given=True), Part(closing)), template.separator, answer)
