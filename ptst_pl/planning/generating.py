"""How the answers of an evaluation will be generated: by which backend, how many at once, in how much memory."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.budget import CPU_BYTES, CUDA_SHARE, slot_bytes, slots_for
from ptst_pl.generation.engine.cache import CacheShape
from ptst_pl.generation.engine.check import cache_shape, unsuited
from ptst_pl.generation.engine.engine import PREFILL_TOKENS
from ptst_pl.model import causal_lm
from ptst_pl.planning.evaluations import Answers, cache_bytes
from ptst_pl.planning.hours import batches_of
from ptst_pl.planning.settings import Training
from ptst_pl.planning.shape import build_on_meta, give_sizes
from ptst_pl.training.finetuner import FineTuner


class Generating(NamedTuple):
    """One evaluation on the device that has most of it.

    Attributes:
        backend: ``engine``, ``continuous`` or ``hf``.
        at_once: answers worked on at a time.
        prompts: prompts read at a time.
        steps: of decoding, if every answer runs to its last token.
        cache: bytes of keys and values.
    """

    backend: str
    at_once: int
    prompts: int
    steps: int
    cache: int


def generating(
    finetuner: FineTuner, training: Training, decoding: Decoding, answers: Answers, usable: int, on_gpu: bool
) -> Generating:
    """What generates, as ``generation.generate`` would choose, and how much of it at once.

    ``fit`` also compares logits on the real weights before it trusts the engine; here only the way is walked.

    Args:
        finetuner: the module, its weights not loaded.
        training: devices, sharing, precision.
        decoding: settings.
        answers: what one evaluation asks for.
        usable: bytes of the device beside weights and optimiser.
        on_gpu: whether the device is one.
    """
    whole = answers.longest + answers.max_new_tokens
    shape = None if decoding.backend in ("hf", "continuous") else _served(finetuner, training, whole)
    if shape is None:
        rows = answers.batch_size
        cache = cache_bytes(causal_lm(build_on_meta(finetuner)), rows, whole, training.answering)
        backend = "continuous" if decoding.backend == "continuous" else "hf"
        return Generating(backend, rows, rows, answers.batches * answers.max_new_tokens, cache)
    kind = "cuda" if on_gpu else "cpu"
    vocabulary = causal_lm(build_on_meta(finetuner)).config.get_text_config().vocab_size
    each = slot_bytes(shape, whole, vocabulary, decoding.temperature > 0)
    free = int(CUDA_SHARE * max(0, usable)) if on_gpu else CPU_BYTES
    slots = slots_for(decoding.slots, answers.on_a_device, each, free, torch.device(kind))
    prompts = min(slots, max(1, PREFILL_TOKENS[kind] // answers.longest))
    steps = batches_of(answers.on_a_device, slots) * answers.max_new_tokens
    return Generating("engine", slots, prompts, steps, slots * whole * shape.token_bytes)


def _served(finetuner: FineTuner, training: Training, longest: int) -> CacheShape | None:
    """What the engine keeps of a token of this model; None where it cannot serve it."""
    model, mode = build_on_meta(finetuner), FakeTensorMode()
    give_sizes(model, mode, training.answering)
    try:
        with mode, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape = cache_shape(model)
    except (TypeError, RuntimeError, AttributeError, ValueError, KeyError, IndexError):
        return None
    return None if unsuited(causal_lm(model), shape, longest) else shape
