"""Memory of one device, by part: the real training step runs on tensors that have a size and no content.

What is computed is what ``fit`` computes (``modeling.batch_nll`` and the optimiser's state), so the estimate follows
the code, whatever the family of the model. Three moments can be the one with the most memory: a micro-batch, the
optimiser's step, and a safety evaluation; the plan has all three. Not in it: what a GPU's allocator holds in reserve
and loses between its blocks, and the workspaces of single kernels.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ptst_pl.model import batch_nll, causal_lm, trainable
from ptst_pl.model.attention import use_row_attention
from ptst_pl.model.loss import head
from ptst_pl.model.sharding import ActivationCheckpointing, checkpoint_activations, decoder_blocks
from ptst_pl.planning.batch_paths import fake
from ptst_pl.planning.live_memory import ACTIVATIONS, COPIES, GRADIENTS, LOGITS, WEIGHTS, LiveMemory
from ptst_pl.planning.settings import Training
from ptst_pl.planning.shape import build_on_meta, give_sizes, saved_by_quantising
from ptst_pl.tokenization.batches import Batch
from ptst_pl.training.finetuner import FineTuner

OPTIMISER, BUFFERS, CACHE, SCRATCH = "optimiser state", "communication buffers", "key-value cache", "optimiser scratch"
DEFENCE = "copies of the defence"
Parts = dict[str, int]


@dataclass(frozen=True)
class Prompts:
    """What an evaluation works on at a time.

    Attributes:
        rows: prompts that are read at once.
        longest: tokens of the longest.
        cache: bytes of the keys and values once every answer has its last token.
    """

    rows: int
    longest: int
    cache: int


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, by part, in three moments.

    Attributes:
        micro_batch: forward and backward of the largest micro-batch.
        optimiser_step: the update of the weights.
        evaluation: generating answers; empty where there is no evaluation.
    """

    micro_batch: Parts
    optimiser_step: Parts
    evaluation: Parts

    def moments(self) -> dict[str, Parts]:
        """By name, those that there are."""
        found = {
            "micro-batch": self.micro_batch,
            "optimiser step": self.optimiser_step,
            "evaluation": self.evaluation,
        }
        return {name: parts for name, parts in found.items() if parts}

    @property
    def peak(self) -> int:
        """Bytes at the worst moment."""
        return max(sum(parts.values()) for parts in self.moments().values())


def estimate(
    finetuner: FineTuner,
    batches: Sequence[Batch],
    training: Training,
    checkpointing: ActivationCheckpointing,
    on_gpu: bool,
    prompts: Prompts | None,
) -> Memory:
    """Memory of a device.

    Args:
        finetuner: the module, its weights not loaded.
        batches: micro-batches, of which the one that needs most counts.
        training: devices, precision, accumulation.
        checkpointing: ``off``, ``selective`` or ``full``.
        on_gpu: the optimiser updates all parameters at once, and the head takes larger blocks.
        prompts: the largest batch of prompts that is answered; None without evaluations.
    """
    sharded = training.sharing == "fsdp2"
    traced = [_trace(finetuner, batch, training, checkpointing, on_gpu) for batch in batches]
    step = max(traced, key=lambda parts: sum(parts.values()))
    model = build_on_meta(finetuner)
    parts = training.devices if sharded else 1
    weights = _bytes(model.parameters(), parts)
    weights -= saved_by_quantising(model, finetuner.quantize) // parts
    chosen = list(trainable(model).values())
    gradients = _bytes(chosen, parts)
    kept = {WEIGHTS: weights, OPTIMISER: 2 * gradients}
    copied = finetuner.defence.copies * gradients + weights * finetuner.defence.copies_model(finetuner.method)
    if copied:
        kept[DEFENCE] = copied
    buffers = _buffers(model, training)
    if sharded:
        # The micro-batch's own gradients are shards too; what is gathered for a moment is in the buffers.
        step = {WEIGHTS: weights, GRADIENTS: gradients} | {k: step.get(k, 0) for k in (COPIES, LOGITS, ACTIVATIONS)}
    else:
        step[WEIGHTS] = weights
    micro_batch = kept | step | {BUFFERS: buffers}
    scratch = gradients if on_gpu else 2 * max((p.numel() * p.element_size() for p in chosen), default=0)
    optimiser_step = kept | {GRADIENTS: gradients, BUFFERS: buffers, SCRATCH: scratch}
    held = buffers if training.sharing == "ddp" else 0
    return Memory(micro_batch, optimiser_step, _evaluation(finetuner, kept, held, training, prompts))


def held(finetuner: FineTuner, training: Training) -> int:
    """Bytes of a device that weights, optimiser and buffers have while answers are generated."""
    model = build_on_meta(finetuner)
    parts = training.devices if training.sharing == "fsdp2" else 1
    weights = _bytes(model.parameters(), parts) - saved_by_quantising(model, finetuner.quantize) // parts
    whole = _whole(model, training)
    buffers = _buffers(model, training) if training.sharing == "ddp" else 0
    return weights + 2 * _bytes(trainable(model).values(), parts) + whole + buffers


def _evaluation(finetuner: FineTuner, kept: Parts, buffers: int, training: Training, prompts: Prompts | None) -> Parts:
    """A sharded model is gathered whole; ``buffers`` stay between the steps."""
    if prompts is None:
        return {}
    model, mode = build_on_meta(finetuner), FakeTensorMode()
    whole = _whole(model, training)
    give_sizes(model, mode, training.answering)
    inner = causal_lm(model.eval())
    memory = LiveMemory(model, inner.config.get_text_config().vocab_size)
    with mode, memory, _quiet(), torch.no_grad():
        inner.get_decoder()(input_ids=torch.zeros(prompts.rows, prompts.longest, dtype=torch.long), use_cache=False)
    memory.close()
    parts = {CACHE: prompts.cache, BUFFERS: buffers, COPIES: whole}
    return kept | parts | {ACTIVATIONS: memory.peak.get(ACTIVATIONS, 0)}


def _autocast(training: Training) -> torch.autocast:
    return torch.autocast("cpu", training.autocast, enabled=training.autocast is not None)


def _trace(
    finetuner: FineTuner, batch: Batch, training: Training, checkpointing: ActivationCheckpointing, on_gpu: bool
) -> Parts:
    """Bytes by kind at the worst moment of a micro-batch, on one device with all weights."""
    model = build_on_meta(finetuner)
    checkpoint_activations(model, checkpointing)
    mode = FakeTensorMode()
    sharded = training.sharing == "fsdp2"
    give_sizes(model, mode, training.autocast if sharded else None)
    vocabulary = causal_lm(model).get_output_embeddings().weight.shape[0]
    # Of a sharded model only what does not belong to parameters is taken from here.
    memory = LiveMemory(model, vocabulary, (COPIES, LOGITS, ACTIVATIONS) if sharded else ())
    with mode, memory, _blocks_of_a_gpu(on_gpu), _quiet():
        if batch.layout is not None:
            use_row_attention(causal_lm(model))
        moved = fake(batch, mode)
        for number in range(2):
            if number:
                memory.restart()
            if training.accumulate == 1:
                model.zero_grad(set_to_none=True)  # as FineTuner does after the optimiser's step
            with _autocast(training):
                loss = batch_nll(model, moved)
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
    memory.close()
    return {kind: size for kind, size in memory.peak.items() if size}


@contextlib.contextmanager
def _blocks_of_a_gpu(on_gpu: bool) -> Iterator[None]:
    """The traced tensors say that they are on a CPU, where the head takes smaller blocks."""
    before = dict(head.BLOCK_BYTES)
    if on_gpu:
        head.BLOCK_BYTES["cpu"] = before["cuda"]
    try:
        yield
    finally:
        head.BLOCK_BYTES.update(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the libraries about tensors that are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- several devices ------------------------------------------------------------------------------


def _bytes(parameters: Iterable[nn.Parameter], parts: int) -> int:
    """Bytes of the parameters, or of one device's part of them: FSDP2 cuts the first dimension."""
    found = 0
    for parameter in parameters:
        rows = parameter.shape[0] if parameter.dim() else 1
        found += -(-rows // parts) * (parameter.numel() // max(rows, 1)) * parameter.element_size()
    return found


def _gathered(parameters: Iterable[nn.Parameter], training: Training) -> int:
    """Bytes of whole parameters in the type that sharded ones are gathered in."""
    size = training.autocast.itemsize if training.autocast else None
    return sum(p.numel() * (size or p.element_size()) for p in parameters)


def _whole(model: nn.Module, training: Training) -> int:
    """Bytes of what answers are made with beside the weights: gathered shards, or float32 weights rounded."""
    if training.sharing == "fsdp2":
        return _gathered(model.parameters(), training)
    if training.answering is None:
        return 0
    return _gathered((p for p in model.parameters() if p.dtype == torch.float32), training)


def _buffers(model: nn.Module, training: Training) -> int:
    """What devices hold for each other.

    ``ddp`` keeps a second copy of all gradients, in buckets. ``fsdp2`` holds the root's group (embedding, norm,
    head) whole and two blocks, the running one and the next; in the backward pass their gradients
    as well, and once more in float32 for the sum over the devices.
    """
    chosen = list(trainable(model).values())
    if training.sharing == "single":
        return 0
    if training.sharing == "ddp":
        return _bytes(chosen, 1)
    blocks = decoder_blocks(model)
    inside = {id(p) for block in blocks for p in block.parameters()}
    root = [p for p in model.parameters() if id(p) not in inside]
    block = max((list(b.parameters()) for b in blocks), key=lambda ps: _gathered(ps, training))
    own = [p for p in block if p.requires_grad]
    in_float32 = sum(4 * p.numel() for p in own)
    gradients = _gathered([p for p in root if p.requires_grad], training) + _gathered(own, training) + in_float32
    return _gathered(root, training) + 2 * _gathered(block, training) + gradients
