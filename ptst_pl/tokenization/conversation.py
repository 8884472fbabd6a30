"""Conversations with several turns, cut into what the template writes and what people wrote.

Where in a chat template's text the turns stand is found out by rendering probes in their place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ptst_pl import InputError
from ptst_pl.templates import Placed
from ptst_pl.templates.thoughts import without_thoughts
from ptst_pl.tokenization.chat_template import OwnChatTemplate, special_texts
from ptst_pl.tokenization.guarded_tokenizer import pattern_of
from ptst_pl.tokenization.rows import Part


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
    if not own.keeps_earlier(placed.template):
        return [_last_turn(own, placed, system, pairs)]
    texts = [*system, *(text for pair in pairs for text in pair)]
    whole = own.text(_messages(own, placed, texts), prompt=False)
    return _cut(own, *_fitted(own, placed, texts, whole, prompt=False), len(system))


def _last_turn(own: OwnChatTemplate, placed: Placed, system: list[str], pairs: Sequence[tuple[str, str]]) -> Turn:
    """The last answer behind the prompt that asks for it; the answers before it are a part of that prompt.

    So under chat templates that write an answer in another way once the conversation has gone on (they take its
    thoughts out): behind the prompt that the model is asked with, only the last answer stands.
    """
    earlier = [(question, without_thoughts(answer) or answer) for question, answer in pairs[:-1]]
    texts = [*system, *(text for pair in earlier for text in pair), pairs[-1][0]]
    prompt = own.text(_messages(own, placed, texts), prompt=True)
    pieces, chosen = _fitted(own, placed, texts, prompt, prompt=True)
    parts = [part for piece, text in zip(pieces, chosen, strict=False) for part in (Part(piece), Part(text, True))]
    return Turn((*parts, Part(pieces[-1])), *own.answer(pairs[-1][1]))


def _fitted(
    own: OwnChatTemplate, placed: Placed, texts: Sequence[str], real: str, prompt: bool
) -> tuple[list[str], list[str]]:
    probes = [probe(number) for number in range(len(texts))]
    fitted = fit_pieces(own.text(_messages(own, placed, probes), prompt=prompt), probes, texts, real)
    if fitted is None:
        raise InputError(
            "the tokenizer's chat template changes or leaves out text of a conversation with several turns "
            f"({placed.question[:60]!r}); use chat_format llama2 or mistral, or edit the chat template"
        )
    return fitted


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
        closing, rest = _cut_end(own, after, last=number == len(texts) - 1)
        turns.append(Turn((*parts[:-1], Part(before)), separator, text + closing))
        parts = [Part(rest)]
    return turns


def _cut_separator(before: str, separator: str) -> tuple[str, str]:
    cut = len(before) - len(separator)
    return (before[:cut], separator) if before.endswith(separator) else (before, "")


def _cut_end(own: OwnChatTemplate, after: str, last: bool) -> tuple[str, str]:
    """Text between an answer and its end token, and the rest, which begins with that token.

    Where the next role's token ends a turn, none stands behind the last answer.
    """
    end = str(own.tokenizer.convert_ids_to_tokens(own.end_id))
    closing, found, rest = after.partition(end)
    if not (found or last) or pattern_of(special_texts(own.tokenizer)).search(closing):
        raise InputError(
            f"the tokenizer's chat template does not end every answer with {end}, so rows with several turns cannot "
            "be trained on; use chat_format llama2 or mistral, or edit the chat template"
        )
    return closing, found + rest
