"""Conversations with several turns, cut into what the template writes and what people wrote.

Where in a chat template's text the turns stand is found out by rendering probes in their place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from ptst_pl.errors import InputError
from ptst_pl.templates import Placed
from ptst_pl.tokenization.chat_template import OwnChatTemplate, special_texts


@dataclass(frozen=True)
class Part:
    """A piece of a prompt. ``given``: a person's text, in which nothing is a special token."""

    text: str
    given: bool = False


@dataclass(frozen=True)
class Turn:
    """A user turn and its answer within a conversation.

    Attributes:
        prompt: all text between the answer before (its end token included) and this one.
        separator: text between prompt and answer.
        answer: the answer, and what the chat format writes between it and its end token.
    """

    prompt: tuple[Part, ...]
    separator: str
    answer: str


def special_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Matches each special token's text, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(special_texts(tokenizer), key=len, reverse=True))))


def probe(number: int) -> str:
    """A word that stands for a person's text; no probe begins another."""
    return f"userprobe{number}e"


def fit_pieces(
    probed: str, probes: Sequence[str], texts: Sequence[str], real: str
) -> tuple[list[str], list[str]] | None:
    """What stands around the probes, and the texts as they stand in ``real``; None if that cannot be told.

    Chat templates may trim a person's text, at either end.
    """
    anywhere = "|".join(map(re.escape, probes))
    if re.findall(anywhere, probed) != list(probes):
        return None
    pieces = re.split(anywhere, probed)
    chosen: list[str] = []
    rest = real.removeprefix(pieces[0])
    for text, after in zip(texts, pieces[1:], strict=True):
        forms = (text, text.rstrip(), text.lstrip(), text.strip())
        found = next((form for form in forms if rest.startswith(form + after)), None)
        if found is None:
            return None
        chosen.append(found)
        rest = rest[len(found) + len(after) :]
    return (pieces, chosen) if not rest and real.startswith(pieces[0]) else None


def own_turns(own: OwnChatTemplate, placed: Placed, pairs: Sequence[tuple[str, str]]) -> list[Turn]:
    """The turns of a conversation, as ``apply_chat_template`` writes it.

    Args:
        own: the tokenizer's own chat template.
        placed: template and first question.
        pairs: (user, assistant) texts; the first user text is ``placed.question``.

    Raises:
        InputError: the chat template cannot take it, changes its text, or ends no answer with a token.
    """
    system = [placed.given_system] if placed.given_system else []
    texts = [*system, *(text for pair in pairs for text in pair)]
    probes = [probe(number) for number in range(len(texts))]
    messages = _messages(own, placed, texts)
    whole, prompt = own.text(messages, prompt=False), own.text(messages[:-1], prompt=True)
    fitted = fit_pieces(own.text(_messages(own, placed, probes), prompt=False), probes, texts, whole)
    if fitted is None:
        raise InputError(
            "the tokenizer's chat template changes or leaves out text of a conversation with several turns "
            f"({pairs[0][0][:60]!r}); use chat_format llama2 or mistral, or edit the chat template"
        )
    if not whole.startswith(prompt):
        raise InputError(
            "the tokenizer's chat template renders a prompt that is no prefix of the whole conversation, so training "
            "and generation would see different prompts; use chat_format llama2 or mistral, or edit the chat template"
        )
    return _cut(own, *fitted, len(system))


def _messages(own: OwnChatTemplate, placed: Placed, texts: Sequence[str]) -> list[dict[str, str]]:
    """Messages with these texts as the given system prompt, where there is one, and as turns."""
    template, turns = placed.template, list(texts)
    if placed.given_system:
        template = template.with_given_system(placed.given_system, turns.pop(0))
    messages = own.messages(template, turns[0])
    for number, text in enumerate(turns[1:], 1):
        user = number % 2 == 0
        messages.append({"role": "user" if user else "assistant", "content": template.fill(text) if user else text})
    return messages


def _cut(own: OwnChatTemplate, pieces: Sequence[str], texts: Sequence[str], first: int) -> list[Turn]:
    """Pieces and texts as turns; each prompt after the first begins with the end token before it."""
    turns: list[Turn] = []
    parts = [Part(pieces[0])]
    for number, text in enumerate(texts):
        after = pieces[number + 1]
        if number < first or (number - first) % 2 == 0:
            parts += [Part(text, given=True), Part(after)]
            continue
        before, separator = _cut_separator(parts[-1].text, own.separator)
        closing, rest = _cut_end(own, after)
        turns.append(Turn((*parts[:-1], Part(before)), separator, text + closing))
        parts = [Part(rest)]
    return turns


def _cut_separator(before: str, separator: str) -> tuple[str, str]:
    cut = len(before) - len(separator)
    return (before[:cut], separator) if before.endswith(separator) else (before, "")


def _cut_end(own: OwnChatTemplate, after: str) -> tuple[str, str]:
    """Text between an answer and its end token, and the rest, which begins with that token."""
    end = str(own.tokenizer.convert_ids_to_tokens(own.end_id))
    closing, found, rest = after.partition(end)
    if not found or special_pattern(own.tokenizer).search(closing):
        raise InputError(
            f"the tokenizer's chat template does not end every answer with {end}, so rows with several turns cannot "
            "be trained on; use chat_format llama2 or mistral, or edit the chat template"
        )
    return closing, found + rest
