"""A rehearsal without a GPU: training step, clipping, update, prefill and decode steps, on tensors without content.

Whatever would make the host wait for the device raises here; where waiting is allowed, it is named below.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from pretended_gpu import DEVICE, NothingFromTheHost, WaitError, pretended_gpu
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from training_fixtures import llama_config, question_rows

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.cache import SlotCache
from ptst_pl.generation.engine.check import cache_shape, serving
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.step_graph import Look
from ptst_pl.model import LoraSettings, causal_lm
from ptst_pl.model.attention import rows, use_row_attention
from ptst_pl.model.loss import FirstNotFinite, SummedLoss
from ptst_pl.planning.shape import build_on_meta, give_sizes
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight, Sources
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the tests marked gpu do it")
CONTENT = (DataDependentOutputException, DynamicOutputShapeException)


def batch_of(kind, count=6):
    """Rows with a common prefix and answers of unequal length, from two sources."""
    common, found = [(7 * place) % 400 + 2 for place in range(40)], []
    for number, row in enumerate(question_rows(count)):
        prompt = [*common, *(ord(letter) % 400 for letter in row["question"])]
        answer = [(ord(letter) + number) % 400 for letter in row["answer"]] + [1]
        found.append(Encoded(prompt + answer, [IGNORED] * len(prompt) + answer, len(prompt)))
    sources = Sources(("a", "b"), [number % 2 for number in range(count)])
    collate = PadRight(0, sources) if kind == "padded" else PackRows(0, sources, sharing=kind == "prefix")
    return collate(list(enumerate(found)))


@pytest.fixture
def folder(tmp_path):
    """A small model's configuration, with fewer key heads than query heads; nobody needs its weights."""
    sizes = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 256}
    llama_config(**sizes).save_pretrained(tmp_path)
    return str(tmp_path)


def loaded(folder, mode, method="full", dtype="float32"):
    """A fine-tuner with a model without content."""
    tuner = FineTuner(
        folder, method=method, dtype=dtype if method == "lora" else "float32", lora=LoraSettings(dropout=0.1)
    )
    tuner.net = build_on_meta(tuner)
    give_sizes(tuner.net, mode, None if method == "lora" else getattr(torch, dtype))
    return tuner


class Trainer:
    """What a step asks of Lightning's trainer."""

    global_step, accumulate_grad_batches, world_size = 0, 2, 1
    estimated_stepping_batches, gradient_clip_val, gradient_clip_algorithm = 10, 1.0, "norm"
    loggers, precision = (), "bf16-mixed"

    def __init__(self, log_every_n_steps):
        self.log_every_n_steps = log_every_n_steps
        self.strategy = SimpleNamespace(reduce=lambda sums, reduce_op: sums)
        self.precision_plugin = SimpleNamespace(forward_context=lambda: torch.autocast("cpu", torch.bfloat16))


def tuner_of(folder, mode, method, dtype="float32", log_every_n_steps=0):
    """A fine-tuner in the middle of a fit."""
    tuner = loaded(folder, mode, method, dtype)
    tuner._trainer = Trainer(log_every_n_steps)
    use_row_attention(causal_lm(tuner.net))
    tuner._trained, tuner._not_finite = SummedLoss(DEVICE), torch.zeros((), device=DEVICE)
    return tuner


def one_step(tuner, batches):
    """Forward and backward of every micro-batch, scaling, clipping, the update."""
    (optimizer,) = [tuner.configure_optimizers()["optimizer"]]
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16):
            loss = tuner.training_step(batch, 0)
        (loss / tuner.trainer.accumulate_grad_batches).backward()
    tuner.on_before_optimizer_step(optimizer)
    tuner.configure_gradient_clipping(optimizer, 1.0, "norm")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.fixture
def kernel(monkeypatch):
    """Choose the attention kernel, as a GPU would for this type; a stand-in for flash-attn checks its input."""
    called = []

    def choose(name):
        stub = ModuleType("flash_attn")
        stub.flash_attn_varlen_func = flash_attn_varlen_func
        monkeypatch.setitem(sys.modules, "flash_attn", stub)
        half = (torch.float16, torch.bfloat16)
        monkeypatch.setattr(rows, "usable_kernel", lambda device, dtype: name if dtype in half else "sdpa")
        own = rows.in_one_call
        monkeypatch.setattr(rows, "in_one_call", lambda *inputs: (called.append(name), own(*inputs))[1])
        return called

    return choose


def flash_attn_varlen_func(q, k, v, cu_q, cu_k, max_q, max_k, softmax_scale=None, causal=False):
    """The kernel's own conditions (flash_attn_interface.py and flash_api.cpp of 2.8), then what it gives in form."""
    for part in (q, k, v):
        assert part.dtype in (torch.float16, torch.bfloat16)
        assert part.stride(-1) == 1, "the last dimension must be contiguous"
        assert part.shape[-1] % 8 == 0
        assert part.shape[-1] <= 256
    assert q.shape[1] % k.shape[1] == 0
    assert k.shape == v.shape
    for ends in (cu_q, cu_k):
        assert ends.dtype == torch.int32
        assert ends.is_contiguous()
    assert type(max_q) is int
    assert type(max_k) is int
    assert causal
    groups = q.shape[1] // k.shape[1]
    return q * 1.0 + (k.sum(0) + v.sum(0)).repeat_interleave(groups, 0)


KERNELS = [
    ("padded", "sdpa"), ("packed", "sdpa"), ("prefix", "sdpa"), ("packed", "varlen"), ("prefix", "varlen"),
    ("packed", "flash-attn"), ("prefix", "flash-attn"), ("padded", "flash-attn"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "dtype"), [("lora", "float32"), ("lora", "bfloat16"), ("full", "float32")])
@pytest.mark.parametrize(("path", "name"), KERNELS)
def test_a_training_step_sends_everything_and_asks_for_nothing(folder, method, dtype, path, name, kernel):
    # A padded batch of one row looks like a packed one.
    called, batches = kernel(name), [batch_of(path), batch_of(path, 1 if path == "padded" else 3)]
    with pretended_gpu() as mode:
        tuner = tuner_of(folder, mode, method, dtype)
        moved = [batch.map(mode.from_tensor) for batch in batches]
        with NothingFromTheHost():
            for _ in range(2):
                one_step(tuner, moved)
    # Every layer of every micro-batch, though masters are float32: autocast reaches the kernel.
    assert len(called) == (0 if name == "sdpa" or path == "padded" else 2 * 2 * tuner.net.config.num_hidden_layers)


def test_scaled_gradients_are_unscaled_before_anybody_looks_at_them(folder):
    """Lightning does so unless the optimiser says that it does it within its step, as a fused one says."""
    from lightning.pytorch.plugins.precision.amp import _optimizer_handles_unscaling

    with pretended_gpu() as mode:
        tuner = tuner_of(folder, mode, "lora")
        assert _optimizer_handles_unscaling(tuner.configure_optimizers()["optimizer"])
        tuner._trainer.precision = "16-mixed"
        assert not _optimizer_handles_unscaling(tuner.configure_optimizers()["optimizer"])


def test_at_a_point_of_the_log_it_is_waited_for(folder):
    """The two places that may: ``check_finite`` and ``_log_at``; this is also how the rehearsal fails."""
    with pretended_gpu() as mode:
        tuner = tuner_of(folder, mode, "lora", log_every_n_steps=1)
        moved = batch_of("prefix").map(mode.from_tensor)
        with pytest.raises(CONTENT):
            one_step(tuner, [moved])
        for asks in (tuner.check_finite, lambda: tuner._log_at({"x": torch.zeros((), device=DEVICE)}, 1)):
            with pytest.raises(CONTENT):
                asks()


def test_the_rehearsal_sees_what_it_is_there_to_see():
    with pretended_gpu(), NothingFromTheHost():
        values = torch.ones(4, device=DEVICE)
        for waits in (
            values.sum().item,
            values.tolist,
            values.nonzero,
            lambda: values[values > 0],
            lambda: bool(values.any()),
        ):
            with pytest.raises(CONTENT):
                waits()
        for waits in (values.cpu, values.numpy, lambda: torch.tensor([1, 2])):
            with pytest.raises(WaitError):
                waits()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    "decoding", [Decoding(), Decoding(temperature=0.7, top_p=0.9, top_k=20)], ids=["greedy", "sampled"]
)
@pytest.mark.parametrize("prefix", [0, 12])
def test_decode_steps_send_everything_and_ask_for_nothing(folder, method, dtype, decoding, prefix):
    """Prompts may be sent; between two looks nothing is."""
    with pretended_gpu() as mode, torch.no_grad():
        model = loaded(folder, mode, method, dtype).net.eval()
        cache = SlotCache(cache_shape(model), 8, 40)
        with serving(model) as inner:
            runner = ModelRunner(inner, cache, decoding, list(range(3, 3 + prefix)))
            logits = runner.prompt_logits(0, [list(range(3, 20 + n)) for n in range(5)])
            assert len(logits) == 5
            numbers = torch.rand(4, 5) if decoding.temperature else None
            look = Look(torch.ones(5, dtype=torch.long), torch.full((5,), 9), 9, numbers, 4)
            with NothingFromTheHost():
                tokens = runner.steps(look)
            assert tokens.shape == (4, 5)


def test_first_not_finite_is_noted_without_waiting():
    with pretended_gpu(), NothingFromTheHost():
        first = FirstNotFinite()
        first.note(torch.zeros((), device=DEVICE), 1, [0, 1])
        with pytest.raises(CONTENT):
            first.find()
