"""A small random model of each family: its loss, what a step changes, where LoRA goes, and its answers."""

from __future__ import annotations

import pytest
import torch
from training_fixtures import World, llama_config, save_random
from transformers import AutoConfig, AutoModelForCausalLM

from ptst_pl import InputError
from ptst_pl.generation import Decoding, generate, stop_ids
from ptst_pl.model import LoraSettings, add_lora, batch_nll, evaluating, load_model, lora_targets, trainable
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PadRight
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name

COMMON = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": 2, "sliding_window": 16, "tie_word_embeddings": False,
}  # fmt: skip
QKVO, MLP = ["k_proj", "o_proj", "q_proj", "v_proj"], ["down_proj", "gate_proj", "up_proj"]
DENSE = ["dense_4h_to_h", "dense_h_to_4h"]
SPLIT = (["q_proj", "v_proj"], QKVO, sorted(QKVO + MLP))
FUSED = (["qkv_proj"], ["o_proj", "qkv_proj"], ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"])
FALCON = (["query_key_value"], ["dense", "query_key_value"], ["dense", *DENSE, "query_key_value"])
# model type -> what its config needs besides, and the names of auto, attention and all-linear
FAMILIES = {
    "llama": ({}, SPLIT),
    "mistral": ({}, SPLIT),
    "qwen2": ({}, SPLIT),
    "qwen3": ({}, SPLIT),
    "gemma": ({"tie_word_embeddings": True}, SPLIT),
    "gemma2": ({"tie_word_embeddings": True, "query_pre_attn_scalar": 8}, SPLIT),
    "gemma3_text": ({"tie_word_embeddings": True, "query_pre_attn_scalar": 8}, SPLIT),
    "phi3": ({}, FUSED),
    "falcon": ({"new_decoder_architecture": False, "multi_query": True}, FALCON),
    "gpt_neox": ({"rotary_pct": 0.5}, FALCON),
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    """Model type and a folder with its config."""
    settings = COMMON | FAMILIES[request.param][0]
    if request.param == "falcon":
        del settings["head_dim"]  # which it computes
    config = AutoConfig.for_model(request.param, **settings)
    save_random(config, tmp_path)
    return request.param, str(tmp_path)


def batch():
    rows = [
        Encoded([0, 5, 6, 20, 21, 1], [IGNORED] * 3 + [20, 21, 1], 3),
        Encoded([0, 7, 30, 1], [IGNORED] * 2 + [30, 1], 2),
    ]
    return PadRight(2)(list(enumerate(rows)))


def labels():
    return torch.tensor([[IGNORED, IGNORED, IGNORED, 20, 21, 1], [IGNORED, IGNORED, 30, 1, IGNORED, IGNORED]])


def step(model):
    """One optimiser step; returns what was there before."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(trainable(model).values(), lr=0.5)
    batch_nll(model, batch()).backward()
    optimizer.step()
    return before


def test_the_loss_is_hugging_faces_own(family):
    model, rows = load_model(family[1], "float32"), batch()
    with evaluating(model):
        ours = batch_nll(model, rows) / rows.targets.numel()
        theirs = model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, labels=labels()).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_targets_by_preset(family):
    model = load_model(family[1], "float32")
    found = tuple(sorted(lora_targets(model, preset)) for preset in ("auto", "attention", "all-linear"))
    assert found == FAMILIES[family[0]][1]


@pytest.mark.parametrize("preset", ["auto", "attention", "all-linear"])
def test_a_lora_step_changes_adapters_only(family, preset):
    model = add_lora(load_model(family[1], "float32"), LoraSettings(dropout=0.0, target_modules=preset))
    before = step(model)
    after = dict(model.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "lora_B" in name}
    adapted = {name.rsplit(".lora_B", 1)[0].rsplit(".", 1)[1] for name in changed}
    assert adapted == set(FAMILIES[family[0]][1][("auto", "attention", "all-linear").index(preset)])


def test_a_full_step_changes_every_matrix(family):
    model = load_model(family[1], "float32")
    before = step(model)
    same = [name for name, p in model.named_parameters() if p.dim() > 1 and torch.equal(before[name], p)]
    assert same == []


def test_answers_are_hugging_faces_own(family):
    model = load_model(family[1], "float32")
    prompts = [[0, 5, 6, 20], [0, 7], [0, 9, 9, 9, 9, 30]]
    ours = generate(model, prompts, stop_ids(model, 1), 2, Decoding(max_new_tokens=6, batch_size=3))
    for prompt, answer in zip(prompts, ours, strict=True):
        ids = model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False, eos_token_id=1, pad_token_id=2)
        theirs = ids[0, len(prompt) :].tolist()
        assert answer.ids == (theirs[: theirs.index(1)] if 1 in theirs else theirs)


class TestTargetsThatAreNotThere:
    @pytest.fixture
    def model(self, tmp_path):
        save_random(llama_config(64), tmp_path)
        return load_model(str(tmp_path), "float32")

    def test_one_of_several(self, model):
        with pytest.raises(InputError, match=r"\['query'\] name no layer of 'llama'.*down_proj.*q_proj"):
            add_lora(model, LoraSettings(target_modules=["q_proj", "query"]))

    def test_an_unknown_preset(self, model):
        with pytest.raises(InputError, match="is 'linear', expected one of auto, attention, all-linear, or a list"):
            add_lora(model, LoraSettings(target_modules="linear"))

    def test_none_at_all(self, model):
        with pytest.raises(InputError, match="name no layer"):
            add_lora(model, LoraSettings(target_modules=[]))

    def test_something_that_is_no_linear_layer(self, model):
        with pytest.raises(InputError, match=r"lora\.target_modules .*not supported"):
            add_lora(model, LoraSettings(target_modules=["input_layernorm"]))

    def test_the_default_is_as_before(self):
        assert LoraSettings().target_modules == ["q_proj", "v_proj"]

    def test_a_family_without_known_names(self, tmp_path):
        save_random(AutoConfig.for_model("gpt2", vocab_size=64, n_embd=32, n_layer=1, n_head=2), tmp_path)
        with pytest.raises(InputError, match="name no layer of 'gpt2'"):
            add_lora(load_model(str(tmp_path), "float32"), LoraSettings(target_modules="auto"))


class TestQuantize:
    def test_without_a_gpu_it_is_one_line(self, tmp_path):
        save_random(llama_config(64), tmp_path)
        with pytest.raises(InputError, match=r"model\.quantize is 'nf4', which needs a CUDA device"):
            load_model(str(tmp_path), "float32", quantize="nf4")

    def test_without_bitsandbytes_it_is_one_line(self, tmp_path, monkeypatch):
        save_random(llama_config(64), tmp_path)
        monkeypatch.setattr("ptst_pl.model.loading.importlib.util.find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"model\.quantize is 'int8', which needs the package bitsandbytes"):
            load_model(str(tmp_path), "bfloat16", device="cuda", quantize="int8")

    def test_full_fine_tuning_is_refused(self):
        with pytest.raises(InputError, match="quantised weights cannot be trained"):
            FineTuner("model", method="full", quantize="nf4")


def test_presets_and_quantize_on_the_command_line(tmp_path):
    world = World(tmp_path)
    run = world.fit("auto", "--model.lora.target_modules", "all-linear", "--trainer.max_steps", "1")
    names = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names} == {*QKVO, *MLP}
    for options, words in (
        (("--model.quantize", "nf4"), "model.quantize is 'nf4', which needs a CUDA device; set it to none"),
        (("--model.lora.target_modules", "linear"), "is 'linear', expected one of auto, attention, all-linear"),
    ):
        failed = world.start("fit", *options).wait()
        assert failed.status == 2
        assert words in failed.err
        assert "Traceback" not in failed.err


def test_every_family_is_loaded_as_its_own_class(family):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(family[1]))
    assert model.config.model_type == family[0]
