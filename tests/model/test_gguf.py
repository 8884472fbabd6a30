"""``model.pretrained: FILE.gguf`` in every command that takes a model, and what is no such file in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from gguf_maker import write_gguf
from training_fixtures import World, distance, lines, weights, world  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.model import load_model
from ptst_pl.model.base_identity import base_identity
from ptst_pl.tokenization import load_tokenizer

ACTIVE = ("--safety.active", "true", "--safety.every_n_steps", "100", "--model.learning_rate", "0.03")


@pytest.fixture(scope="module")
def file(world: World) -> Path:  # noqa: F811
    return write_gguf(world.folder / "model", world.folder / "small.gguf")


def test_weights_and_tokens_are_those_of_the_folder(world: World, file: Path):  # noqa: F811
    ours = load_model(str(file), "float32")
    expected = load_model(str(world.folder / "model"), "float32")
    assert not hasattr(ours.config, "quantization_config")
    ids = torch.arange(5, 90)[None]
    torch.testing.assert_close(ours(ids).logits, expected(ids).logits, rtol=1e-5, atol=1e-5)
    text = "Tom has 3 apples.\nHow many later? \u00e9\U0001f34e"
    for one, other in ((load_tokenizer(str(file)), load_tokenizer(str(world.folder / "model"))),):
        assert one(text, add_special_tokens=False).input_ids == other(text, add_special_tokens=False).input_ids
        assert (one.bos_token_id, one.eos_token_id) == (other.bos_token_id, other.eos_token_id)
        assert one.chat_template
    assert load_model(str(file), "bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "full"])
def test_fit_test_plan_and_export_take_it_as_they_take_the_folder(world: World, file: Path, method, tmp_path):  # noqa: F811
    options = (*ACTIVE, "--model.method", method)
    given = ("--model.pretrained", str(file), "--chat_format", "llama2")
    folder = world.fit(f"folder-{method}", *options)
    run = world.fit(f"gguf-{method}", *options, *given)
    assert distance(weights(run), weights(folder)) < 1e-3
    assert [r["answer"] for r in lines(run / "safety/generations.jsonl")] == [
        r["answer"] for r in lines(folder / "safety/generations.jsonl")
    ]
    stored = json.loads((run / "safety/results.json").read_text())["identity"]["base"]
    assert stored == base_identity(str(file))
    assert stored["weights"]
    world.run("test", "--name", f"gguf-{method}", *options, *given, "--ckpt_path", "last")
    plan = json.loads(world.run("plan", *given, "--model.method", method, "--json").out)["model"]
    assert plan["parameters"] == sum(p.numel() for p in load_model(str(file), "float32").parameters()) + (
        plan["trainable"] if method == "lora" else 0
    )
    main(["export", str(run), "--output", str(tmp_path / "out")])
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    AutoTokenizer.from_pretrained(tmp_path / "out")
    assert not hasattr(exported.config, "quantization_config")


def test_its_own_chat_template_is_taken(world: World, file: Path):  # noqa: F811
    run = world.fit("own-template", *ACTIVE, "--model.pretrained", str(file), "--chat_format", "tokenizer",
                    "--safety.templates", "[chat:vanilla]", "--data.template", "chat:vanilla")  # fmt: skip
    assert lines(run / "safety/generations.jsonl")[0]["prompt_text"].startswith("<s>user: Question: ")


def test_another_file_is_another_base(world: World, file: Path):  # noqa: F811
    changed = bytearray(file.read_bytes())
    changed[-3000:-2000] = b"\1" * 1000
    other = file.with_name("other.gguf")
    other.write_bytes(bytes(changed))
    assert base_identity(str(other))["weights"] != base_identity(str(file))["weights"]
    moved = file.with_name("moved.gguf")
    moved.write_bytes(file.read_bytes())
    assert base_identity(str(moved))["weights"] == base_identity(str(file))["weights"]


HEAD = b"GGUF" + struct.pack("<IQQ", 3, 5, 5)
FAULTS = {
    "missing.gguf": (None, "no such file"),
    "page.gguf": (b"<!DOCTYPE html><html></html>", "is no GGUF file: it begins with b'<!DO'"),
    "empty.gguf": (b"", "is no GGUF file"),
    "pointer.gguf": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "old.gguf": (b"GGUF" + struct.pack("<IQQ", 1, 5, 5), "of version 1, expected 2 or 3"),
    "turned.gguf": (b"GGUF" + struct.pack(">IQQ", 3, 5, 5), "of version"),
    "cut.gguf": (HEAD, "cannot be loaded"),
    "model-00001-of-00002.gguf": (HEAD, "one part of several"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_read_is_one_line(name, tmp_path):
    content, expected = FAULTS[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for load in (lambda path: load_model(path, "float32"), load_tokenizer):
        with pytest.raises(InputError, match=expected) as error:
            load(str(tmp_path / name))
        assert "\n" not in str(error.value)


def test_an_unknown_architecture_is_one_line(tmp_path):
    import gguf

    writer = gguf.GGUFWriter(str(tmp_path / "odd.gguf"), "nonesuch")
    writer.add_tensor("token_embd.weight", torch.zeros(2, 2).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match=r"cannot be loaded: .*nonesuch"):
        load_model(str(tmp_path / "odd.gguf"), "float32")
