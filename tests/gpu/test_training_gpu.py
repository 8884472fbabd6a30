"""The training step on a GPU: no wait between log points, and the kernels' losses are sdpa's. Run with: make gpu."""

from __future__ import annotations

import pytest
import torch
from training_fixtures import llama_config, question_rows
from transformers import AutoModelForCausalLM

from ptst_pl.model import LoraSettings, add_lora, batch_nll, causal_lm, trainable
from ptst_pl.model.attention import usable_kernel, use_row_attention
from ptst_pl.model.loss import FirstNotFinite, SummedLoss
from ptst_pl.model.sharding import clip_to_norm, gradients
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
DEVICE = torch.device("cuda")


def rows(count=8, prefix=60):
    """Rows with a common prefix and answers of unequal length."""
    common = [(7 * place) % 400 + 2 for place in range(prefix)]
    found = []
    for number, row in enumerate(question_rows(count)):
        prompt = [*common, *(ord(letter) % 400 for letter in row["question"])]
        answer = [(ord(letter) + number) % 400 for letter in row["answer"]] + [1]
        found.append(Encoded(prompt + answer, [IGNORED] * len(prompt) + answer, len(prompt)))
    return list(enumerate(found))


def model(dtype, **changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 512}
    found = AutoModelForCausalLM.from_config(llama_config(**sizes | changes), dtype=dtype).to(DEVICE)
    use_row_attention(found)
    return found


@pytest.mark.parametrize("sharing", [False, True], ids=["packed", "prefix"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_paths_give_one_loss_and_gradient(dtype, sharing):
    results = []
    for batch in (PadRight(0)(rows()), PackRows(0, sharing=sharing)(rows())):
        net = model(dtype)
        loss = batch_nll(net, batch.to(DEVICE))
        loss.backward()
        results.append((loss.item(), torch.cat([p.grad.float().flatten() for p in net.parameters()])))
    (loss, grad), (other, packed) = results
    assert other == pytest.approx(loss, rel=1e-5 if dtype == torch.float32 else 2e-3)
    assert (grad - packed).norm() < (1e-4 if dtype == torch.float32 else 3e-2) * grad.norm()


def test_half_precision_takes_a_kernel_for_all_rows_at_once():
    assert usable_kernel(DEVICE, torch.bfloat16) in ("flash-attn", "varlen")
    assert usable_kernel(DEVICE, torch.float32) == "sdpa"


@pytest.mark.parametrize("kind", ["padded", "packed", "prefix"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_no_step_waits_for_the_device(kind, lora):
    """What a step of ``FineTuner`` does, under PyTorch's own alarm."""
    net = model(torch.float32)
    net = add_lora(net, LoraSettings(dropout=0.1)) if lora else net
    use_row_attention(causal_lm(net))
    optimizer = torch.optim.AdamW(trainable(net).values(), lr=1e-4, fused=True)
    collate = PadRight(0) if kind == "padded" else PackRows(0, sharing=kind == "prefix")
    sums, first = SummedLoss(DEVICE), FirstNotFinite()
    for step in range(3):
        batch = collate(rows()).pin_memory()
        # The first step allocates, picks kernels and compares them: it may wait.
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        try:
            moved = batch.to(DEVICE)
            with torch.autocast("cuda", torch.bfloat16):
                nll = batch_nll(net, moved, sums.each(moved))
            nll.backward()
            sums.add(nll, moved.targets.numel())
            first.note(nll, step, moved.rows)
            torch._foreach_mul_(gradients(trainable(net).values()), 1 / sums.vector[1].clamp(min=1))
            clip_to_norm(trainable(net).values(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert first.find() is None
    assert sums.vector[2].item() == 0
