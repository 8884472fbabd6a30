"""A multimodal checkpoint of which only the text model is used: what takes no part is frozen, everywhere."""

import json
from pathlib import Path

import pytest
import torch
from training_fixtures import World, distance, save_random, weights
from transformers import AutoModelForCausalLM, Gemma3Config

from ptst_pl.model.sharding.files import read_checkpoint
from ptst_pl.model.text_part import beside_text

TEXT = {
    "vocab_size": 420, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 8, "sliding_window": 64,
    "max_position_embeddings": 1024, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
FULL = ("--model.method", "full", "--trainer.max_epochs", "1", "--model.weight_decay", "0.1")


@pytest.fixture(scope="module")
def gemma(world: World) -> Path:
    folder = world.folder / "gemma"
    ids = {"boi_token_index": 2, "eoi_token_index": 3, "image_token_index": 4, "bos_token_id": 0, "eos_token_id": 1}
    save_random(Gemma3Config(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4, **ids), folder)
    return folder


@pytest.fixture(scope="module")
def given(world: World, gemma: Path) -> tuple[str, ...]:
    return ("--model.pretrained", str(gemma), "--tokenizer", str(world.folder / "model"))


def test_one_device_ddp_and_fsdp2_train_the_same(world: World, gemma: Path, given):
    one = weights(world.fit("gemma-one", *given, *FULL))
    for strategy in ("ddp", "fsdp2"):
        batch = ("--data.init_args.batch_size", "2")
        run = world.fit_ranks(f"gemma-{strategy}", *given, *FULL, *batch, strategy=strategy)
        assert distance(one, read_checkpoint(run / "last.ckpt")["state_dict"]) < 1e-4, strategy


def test_the_saved_model_has_the_frozen_parts_as_they_were(world: World, gemma: Path, given):
    run = world.fit("gemma-saved", *given, *FULL)
    before, after = (AutoModelForCausalLM.from_pretrained(str(f)) for f in (gemma, run / "model"))
    frozen = beside_text(before)
    assert frozen
    assert all(torch.equal(after.state_dict()[name], value) for name, value in frozen.items())
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


def test_adapters_stay_out_of_the_vision_tower(world: World, given):
    run = world.fit("gemma-lora", *given, "--model.lora.target_modules", "all-linear")
    names = list(weights(run))
    assert names
    assert not [name for name in names if "language_model" not in name]


def test_plan_counts_them_and_the_log_names_them(world: World, gemma: Path, given):
    plan = json.loads(world.run("plan", *given, *FULL, "--json").out)["model"]
    frozen = beside_text(AutoModelForCausalLM.from_pretrained(str(gemma)))
    assert plan["beside_text"] == sum(p.numel() for p in frozen.values()) == plan["parameters"] - plan["trainable"] > 0
    told = world.run("fit", "--name", "told", *given, *FULL, "--trainer.max_steps", "1").err
    assert f"frozen: model.vision_tower, model.multi_modal_projector ({plan['beside_text']} parameters)" in told
