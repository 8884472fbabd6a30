"""What the safety evaluations of a run generate, at most: answers, tokens, batches, and the key-value cache."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from lightning import Trainer
from transformers import PreTrainedModel

from ptst_pl.evaluation.evaluate import Evaluation
from ptst_pl.planning.hours import batches_of
from ptst_pl.planning.settings import Training
from ptst_pl.training.callbacks import SafetyCurve


@dataclass(frozen=True)
class Answers:
    """The evaluations of a run.

    Attributes:
        evaluations: how many: before training, in between, and at the end.
        answers: of one evaluation, over all devices.
        on_a_device: of one evaluation on the device that has most of them.
        prompt_tokens: of one evaluation, over all devices.
        new_tokens: of one evaluation if every answer runs to its last token.
        batches: of one evaluation on that device, where answers are generated in batches.
        batch_size: prompts of such a batch.
        max_new_tokens: longest answer.
        longest: prompt tokens of the longest prompt.
    """

    evaluations: int
    answers: int
    on_a_device: int
    prompt_tokens: int
    new_tokens: int
    batches: int
    batch_size: int
    max_new_tokens: int
    longest: int


def count_answers(evaluation: Evaluation, evaluations: int, devices: int) -> Answers:
    """Count what one evaluation does; the first device has the most prompts."""
    decoding = evaluation.decoding
    lengths = [[len(ids) for ids in cell.ids] for cell in evaluation.cells]
    answers = sum(len(cell) for cell in lengths)
    return Answers(
        evaluations=evaluations,
        answers=answers,
        on_a_device=sum(-(-len(cell) // devices) for cell in lengths),
        prompt_tokens=sum(sum(cell) for cell in lengths),
        new_tokens=answers * decoding.max_new_tokens,
        batches=sum(batches_of(-(-len(cell) // devices), decoding.batch_size) for cell in lengths),
        batch_size=min(decoding.batch_size, max(-(-len(cell) // devices) for cell in lengths)),
        max_new_tokens=decoding.max_new_tokens,
        longest=max(max(cell) for cell in lengths),
    )


def count_evaluations(curve: SafetyCurve, training: Training, batches: int, steps: int) -> int:
    """Evaluations of a run of ``steps`` steps: step 0, those that the curve itself says are due, and the last step."""
    at = {0, steps}
    for step in range(1, steps):
        trainer = SimpleNamespace(
            global_step=step, num_training_batches=batches, accumulate_grad_batches=training.accumulate
        )
        if curve.due(cast(Trainer, trainer)):
            at.add(step)
    return len(at)


def cache_bytes(model: PreTrainedModel, rows: int, tokens: int, computing: torch.dtype | None) -> int:
    """Keys and values of ``rows`` rows of ``tokens`` tokens in every layer."""
    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        heads = 1
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = (computing or model.dtype).itemsize
    return int(2 * config.num_hidden_layers * heads * width * rows * tokens * size)
