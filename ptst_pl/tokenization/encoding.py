"""Encode many rows at once, and count them."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptst_pl import InputError
from ptst_pl.templates import SYSTEM_PLACE, PromptTemplate
from ptst_pl.tokenization.compact_rows import CompactRows
from ptst_pl.tokenization.rows import IGNORED, Example
from ptst_pl.tokenization.template_tokenizer import TemplateTokenizer

log = logging.getLogger(__name__)


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
) -> tuple[CompactRows, list[int], EncodingReport]:
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
    kept, origin = CompactRows(), array("q")
    truncated = left_out = last_only = tokens = supervised = 0
    for index, example in enumerate(examples):
        chosen = templates[example.template] if example.template else template
        left_out += bool(example.system) and chosen.row_place != SYSTEM_PLACE
        last_only += bool(example.turns) and encoder.trains_last_only(chosen)
        row = encoder.encode(example, chosen, max_length)
        truncated += row.truncated
        trained_on = sum(label != IGNORED for label in row.labels)
        if trained_on:
            kept.append(row)
            origin.append(index)
            tokens, supervised = tokens + len(row.input_ids), supervised + trained_on
    if not kept:
        raise InputError(
            f"none of the {len(examples)} rows has an answer token left at max_length {max_length}; raise it"
        )
    if left_out:
        log.info(
            "%d of %d rows bring a system prompt that their training template has no place for: it is left out",
            left_out, len(examples),
        )  # fmt: skip
    if last_only:
        log.info(
            "%d of %d rows have several turns: only their last answer is trained on, for the chat template writes "
            "earlier answers in another way than it asks for them",
            last_only, len(examples),
        )  # fmt: skip
    report = EncodingReport(
        rows=len(examples),
        dropped=len(examples) - len(kept),
        truncated=truncated,
        tokens=tokens,
        supervised=supervised,
    )
    return kept, origin.tolist(), report
