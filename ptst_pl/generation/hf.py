"""Plain ``generate`` of transformers: prompts sorted by length, batches padded on the left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from ptst_pl.generation.decoding import Answer, Decoding, cut
from ptst_pl.generation.engine.sampling import chooser, uniforms
from ptst_pl.generation.request import Request
from ptst_pl.model import causal_lm
from ptst_pl.model.attention import own_attention
from ptst_pl.tokenization.batches import pad_left

StopCheck = Callable[[list[int]], bool]


def stop_ids(model: nn.Module, end_id: int) -> list[int]:
    """Tokens that end an answer: the template's end token and those of the model's own config."""
    config = causal_lm(model).generation_config
    own = config.eos_token_id if config is not None else None
    more = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({end_id, *(int(token) for token in more)})


@contextlib.contextmanager
def plain(model: nn.Module, config: GenerationConfig) -> Iterator[Any]:
    """The Hugging Face model with its own attention, and its own generation defaults (penalties) kept out."""
    inner = causal_lm(model)
    own = inner.generation_config
    inner.generation_config = config
    try:
        with own_attention(inner):
            yield inner
    finally:
        inner.generation_config = own


def run(
    model: nn.Module,
    requests: Sequence[Request],
    stops: Sequence[int],
    pad_id: int,
    decoding: Decoding,
    known: Collection[int],
    done: Callable[[int, Answer], object],
    stop_text: StopCheck | None = None,
    made: Callable[[int], object] = lambda tokens: None,
) -> None:
    """Answer all requests, ``batch_size`` at a time.

    Args:
        model: a causal language model in evaluation mode, with or without adapters.
        requests: N requests.
        stops: ids that end an answer.
        pad_id: id to pad with; its value never matters.
        decoding: settings.
        known: requests that are answered already. A batch is generated whole or not at all, so that its
            composition, on which bf16 text can depend (pitfall D5), is the uninterrupted run's.
        done: called with every new answer.
        stop_text: whether an answer of these ids may end.
        made: called with the number of tokens just made.
    """
    order = sorted(range(len(requests)), key=lambda i: len(requests[i].ids))
    config = _config(max((r.max_new_tokens for r in requests), default=1), stops, pad_id)
    with plain(model, config) as inner:
        for start in range(0, len(order), decoding.batch_size):
            chosen = order[start : start + decoding.batch_size]
            if all(index in known for index in chosen):
                continue
            batch = [requests[index] for index in chosen]
            answers = [
                cut(ids[: request.max_new_tokens], set(stops))
                for ids, request in zip(_new_ids(inner, batch, pad_id, decoding, stop_text), batch, strict=True)
            ]
            made(sum(len(answer.ids) for answer in answers))
            for index, answer in zip(chosen, answers, strict=True):
                done(index, answer)


def _new_ids(
    model: Any, batch: Sequence[Request], pad_id: int, decoding: Decoding, stop_text: StopCheck | None
) -> list[list[int]]:
    input_ids, mask = pad_left([request.ids for request in batch], pad_id)
    device = next(model.parameters()).device
    length = input_ids.shape[1]
    processors = LogitsProcessorList([_Drawn(batch, decoding, length)] if decoding.temperature > 0 else [])
    criteria = StoppingCriteriaList([_AtText(stop_text, length)] if stop_text else [])
    output = model.generate(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        generation_config=model.generation_config,
        logits_processor=processors,
        stopping_criteria=criteria,
        synced_gpus=False,  # no rank waits for another: their shares differ
    )
    new: list[list[int]] = output[:, length:].tolist()
    return new


def _config(max_new_tokens: int, stops: Sequence[int], pad_id: int) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,  # what is drawn is drawn by us, and generate takes it as the largest
        eos_token_id=list(stops),
        pad_token_id=pad_id,
        use_cache=True,
    )


class _Drawn(LogitsProcessor):
    """Draws the next token of each row from the row's own random numbers: 0 for it, minus infinity for the rest."""

    def __init__(self, batch: Sequence[Request], decoding: Decoding, length: int) -> None:
        self.numbers = torch.stack([uniforms(r.seed, max(q.max_new_tokens for q in batch)) for r in batch])
        self.choose, self.length = chooser(decoding), length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """(B, V) scores in, the same shape out."""
        at = self.numbers[:, input_ids.shape[1] - self.length].to(scores.device)
        tokens = self.choose(scores, at)
        return torch.full_like(scores, float("-inf")).scatter_(1, tokens[:, None], 0.0)


class _AtText(StoppingCriteria):
    """Ends a row that has reached a stop text."""

    def __init__(self, stop_text: StopCheck, length: int) -> None:
        self.stop_text, self.length = stop_text, length

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """(B,) whether each row ends."""
        ended = [self.stop_text(row) for row in input_ids[:, self.length :].tolist()]
        return torch.tensor(ended, device=input_ids.device)
