"""Loading, adapters and their types, and the choice of attention."""

import logging

import pytest
import torch
from training_fixtures import assert_same, llama_config, save_random
from transformers import AttentionInterface

from ptst_pl import InputError
from ptst_pl.model import (
    LoraSettings,
    add_lora,
    batch_nll,
    causal_lm,
    describe,
    evaluating,
    load_model,
    loading,
    pick_attention,
    trainable,
)
from ptst_pl.model.attention import attention_name
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PadRight

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def folder(tmp_path):
    """A model folder without weights."""
    save_random(llama_config(64), tmp_path)
    return str(tmp_path)


def batch():
    rows = [
        Encoded([0, 5, 6, 20, 21, 1], [IGNORED] * 3 + [20, 21, 1], 3),
        Encoded([0, 7, 30, 1], [IGNORED] * 2 + [30, 1], 2),
    ]
    return PadRight(1)(list(enumerate(rows)))


def test_adapters_are_float32_on_a_bfloat16_base(folder):
    model = add_lora(load_model(folder, "bfloat16"), LoraSettings())
    types = {name: p.dtype for name, p in model.named_parameters()}
    assert {dtype for name, dtype in types.items() if "lora_" in name} == {torch.float32}
    assert {dtype for name, dtype in types.items() if "lora_" not in name} == {torch.bfloat16}
    assert set(trainable(model)) == {name for name in types if "lora_" in name}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_adapter_learns(folder, dtype):
    """After the first step, in which only lora_B moves off zero, every adapter matrix has a gradient."""
    model = add_lora(load_model(folder, dtype), LoraSettings(dropout=0.0, target_modules=ALL_LINEAR))
    optimizer = torch.optim.AdamW(trainable(model).values(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = batch_nll(model, batch())
        loss.backward()
        optimizer.step()
    still = [name for name, p in trainable(model).items() if p.grad is None or not p.grad.any() or not p.any()]
    assert len(trainable(model)) == 2 * 2 * len(ALL_LINEAR)
    assert still == []
    assert all(p.grad is None for name, p in model.named_parameters() if "lora_" not in name)


def test_a_fresh_adapter_changes_no_loss(folder):
    plain = batch_nll(load_model(folder, "float32"), batch())
    adapted = batch_nll(add_lora(load_model(folder, "float32"), LoraSettings(dropout=0.0)), batch())
    assert torch.equal(plain, adapted)


def test_targets_that_do_not_exist_are_one_clear_line(folder):
    with pytest.raises(InputError, match=r"\['attn'\] name no layer of 'llama'.*down_proj.*q_proj"):
        add_lora(load_model(folder, "float32"), LoraSettings(target_modules=["attn"]))


def test_an_adapter_on_the_head_is_refused(folder):
    with pytest.raises(InputError, match="lm_head is not supported"):
        add_lora(load_model(folder, "float32"), LoraSettings(target_modules=["q_proj", "lm_head"]))


def test_saved_weights_are_loaded_and_not_made_up(folder):
    model = load_model(folder, "float32")
    torch.nn.init.ones_(model.lm_head.weight)
    model.save_pretrained(folder)
    assert_same(load_model(folder, "float32").state_dict(), model.state_dict())


@pytest.mark.parametrize("name", ["no/such/model", "/no/such/folder"])
def test_a_model_that_is_not_there_is_one_clear_line(name):
    with pytest.raises(InputError, match="cannot be loaded") as error:
        load_model(name, "float32")
    assert "\n" not in str(error.value)


def test_attention_falls_back_to_pytorchs_own_with_one_line(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: False)
    assert pick_attention("auto", "cuda", torch.bfloat16) == "sdpa"
    assert len(caplog.records) == 1
    assert "flash-attn is not installed" in caplog.text


@pytest.mark.parametrize(
    ("requested", "device", "dtype", "expected"),
    [
        ("auto", "cuda", torch.bfloat16, "flash_attention_2"),
        ("auto", "cuda", torch.float32, "sdpa"),
        ("auto", "cpu", torch.bfloat16, "sdpa"),
        ("eager", "cuda", torch.bfloat16, "eager"),
    ],
)
def test_the_choice_of_attention_where_flash_attn_is_installed(monkeypatch, requested, device, dtype, expected):
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: True)
    assert pick_attention(requested, device, dtype) == expected


def test_a_kernel_of_the_gpu_is_not_asked_while_the_weights_are_on_the_processor(folder):
    def refuse(*inputs, **options):
        raise RuntimeError("no kernel for this device")

    AttentionInterface.register("only_on_a_gpu", refuse)
    model = load_model(folder, "float32", "only_on_a_gpu")
    assert attention_name(model) == "only_on_a_gpu"
    with pytest.raises(RuntimeError, match="no kernel"):
        batch_nll(model, batch())


def test_attention_implementations_agree_on_padded_rows(folder):
    sdpa, eager = (load_model(folder, "float32", kind) for kind in ("sdpa", "eager"))
    torch.testing.assert_close(batch_nll(sdpa, batch()), batch_nll(eager, batch()))


def test_evaluating_puts_every_module_back(folder):
    model = load_model(folder, "float32").train()
    model.model.norm.eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [name for name, module in model.named_modules() if not module.training] == ["model.norm"]


def test_description(folder):
    model = add_lora(load_model(folder, "bfloat16"), LoraSettings(r=4))
    facts = describe(model)
    assert facts["trainable"] == sum(p.numel() for p in trainable(model).values()) == 2 * 2 * 2 * 4 * 32
    assert (facts["attention"], facts["dtypes"]) == ("sdpa", ["bfloat16", "float32"])
    assert causal_lm(model) is model.base_model.model
