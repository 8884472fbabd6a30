"""Parameters and operations read off a model without weights, against the real model of each family."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_fixtures import llama_config, save_random
from transformers import AutoConfig

from ptst_pl.model import LoraSettings, add_lora, batch_nll, load_model, trainable
from ptst_pl.planning.operations import operations_of
from ptst_pl.planning.shape import build_on_meta, count
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PadRight
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name

COMMON = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 2,
    "tie_word_embeddings": False,
}  # fmt: skip
TIED = {"tie_word_embeddings": True}
FAMILIES = {
    "llama": {}, "mistral": {}, "qwen2": TIED, "qwen3": {}, "gemma": TIED,
    "gemma2": TIED | {"query_pre_attn_scalar": 8},
    "gemma3_text": TIED | {"query_pre_attn_scalar": 8}, "phi3": {}, "falcon": {"multi_query": True},
    "gpt_neox": {"rotary_pct": 0.5},
}  # fmt: skip
LAYERS, ROWS, LENGTH, SUPERVISED = 4, 3, 40, 21


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_the_real_model(tmp_path, family, method):
    settings = COMMON | FAMILIES[family]
    if family == "falcon":
        del settings["head_dim"]  # which it computes
    save_random(AutoConfig.for_model(family, **settings), tmp_path)
    lora = LoraSettings(target_modules="all-linear")
    dtype = "bfloat16" if method == "lora" else "float32"
    planned = build_on_meta(FineTuner(str(tmp_path), method, lora, dtype))
    real = load_model(str(tmp_path), dtype)
    real = add_lora(real, lora) if method == "lora" else real
    found = count(planned)
    assert all(parameter.is_meta for parameter in planned.parameters())
    assert found.total == sum(p.numel() for p in real.parameters())
    assert found.trainable == sum(p.numel() for p in trainable(real).values())
    assert found.bytes == sum(p.numel() * p.element_size() for p in real.parameters())
    kinds: Counter[str] = Counter()
    for parameter in real.parameters():
        kinds[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    assert found.by_dtype == kinds


def test_a_model_of_llama_2_7bs_shape(tmp_path):
    """6,738,415,616 parameters, as the real one has; LoRA of rank 8 on queries and values: 32 x 2 x 65,536."""
    config = llama_config(
        32_000, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32,
    )  # fmt: skip
    config.save_pretrained(tmp_path)  # without weights: 27 GB
    found = count(build_on_meta(FineTuner(str(tmp_path), "lora", LoraSettings(), "bfloat16")))
    assert found.total - found.trainable == 6_738_415_616
    assert found.trainable == 4_194_304
    assert found.bytes == 2 * 6_738_415_616 + 4 * 4_194_304
    quantised = count(build_on_meta(FineTuner(str(tmp_path), "lora", None, "bfloat16", quantize="nf4")), "nf4")
    assert 3.5e9 < quantised.bytes < 4.0e9


def batch():
    """Rows of one length: nothing is padded."""
    rows = [Encoded(list(range(LENGTH)), [IGNORED] * (LENGTH - 7) + list(range(7)), LENGTH - 7) for _ in range(ROWS)]
    return PadRight(2)(list(enumerate(rows)))


def counted(model: nn.Module) -> dict[str, int]:
    """Operations of one step by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter:
        batch_nll(model, batch()).backward()
    return {str(op): number for op, number in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_operations_are_those_that_pytorch_counts(tmp_path, method):
    """Eager attention computes all pairs, also those that causality masks."""
    save_random(llama_config(64, num_hidden_layers=LAYERS), tmp_path)
    tuner = FineTuner(str(tmp_path), method, LoraSettings(dropout=0.0, target_modules="all-linear"))
    model = load_model(str(tmp_path), "float32", "eager")
    model = add_lora(model, tuner.lora) if method == "lora" else model
    ours = operations_of(build_on_meta(tuner))
    # PyTorch does not count products that are written into a given tensor: the head's input gradient is one.
    expected = ours.training(ROWS * LENGTH, ROWS * LENGTH**2, SUPERVISED) - ours.head_forward * SUPERVISED
    found = sum(counted(model).values())
    # Left out on purpose: the gradient of the lowest layer's inputs, which nothing needs under LoRA.
    assert found == pytest.approx(expected, rel=0.05 if method == "lora" else 1e-9)
    assert found <= expected


def test_forward_alone(tmp_path):
    save_random(llama_config(64, num_hidden_layers=LAYERS), tmp_path)
    ours = operations_of(build_on_meta(FineTuner(str(tmp_path), "full")))
    model = load_model(str(tmp_path), "float32", "eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        batch_nll(model, batch())
    assert counter.get_total_flops() == ours.evaluating(ROWS * LENGTH, ROWS * LENGTH**2, SUPERVISED)


def test_checkpointing_computes_blocks_again(tmp_path):
    save_random(llama_config(64), tmp_path)
    model = build_on_meta(FineTuner(str(tmp_path), "full"))
    off, half, full = (operations_of(model, how) for how in ("off", "selective", "full"))
    assert full.token - off.token == off.forward
    assert half.token - off.token == off.forward / 2
    assert full.pair - off.pair == off.pair_forward
    assert json.dumps(off.head) == json.dumps(full.head)
