"""What a reference model makes of the rows: the loss of an answer, a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ptst_pl.model import batch_nll, evaluating
from ptst_pl.templates import PromptTemplate
from ptst_pl.tokenization import Example, TemplateTokenizer
from ptst_pl.tokenization.batches import PadRight

LONGEST = 512


def answer_losses(
    model: nn.Module,
    encoder: TemplateTokenizer,
    template: PromptTemplate,
    examples: Sequence[Example],
    done: Callable[[int], object] = lambda rows: None,
) -> list[float | None]:
    """Mean negative log-likelihood of each answer's tokens in nats; None for a row without any within `LONGEST`.

    Args:
        model: the reference.
        encoder: with the reference's tokenizer.
        template: what the rows stand in.
        examples: the rows.
        done: called with the number of rows just finished.
    """
    device = next(model.parameters()).device
    found: list[float | None] = []
    with evaluating(model), torch.no_grad():
        for example in examples:
            encoded = encoder.encode(example, template, LONGEST)
            batch = PadRight(encoder.pad_id)([(0, encoded)]).to(device)
            tokens = batch.targets.numel()
            found.append(float(batch_nll(model, batch)) / tokens if tokens else None)
            done(1)
    return found
