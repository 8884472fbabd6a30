"""Model folders as people bring them: nothing in them is made up, and what is missing is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_fixtures import World, llama_config, save_random, world  # noqa: F401
from transformers import AutoTokenizer

from ptst_pl import InputError
from ptst_pl.model import load_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 538090408\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    save_random(llama_config(64), folder)
    return folder


@pytest.fixture
def model(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def no_weights(folder: Path, *others: str) -> None:
    (folder / "model.safetensors").unlink()
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"something")


def index(folder: Path, **files: str) -> None:
    no_weights(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def edit(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder: Path, size: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])


def write(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)


LM_HEAD, NORM = "lm_head.weight", "model.norm.weight"
BROKEN = {
    "config alone": (no_weights, "has a config.json and no weights"),
    "an index and no shards": (lambda f: index(f, a="model-00001-of-00002.safetensors"), "lacks 1 of the 1 weight"),
    "an index that names nothing": (lambda f: index(f), "names no weight files"),
    "an interrupted download": (lambda f: no_weights(f, "model.safetensors.incomplete"), "an interrupted download"),
    "one in the hub's cache": (lambda f: no_weights(f, ".cache/huggingface/x.incomplete"), "an interrupted download"),
    "a GGUF": (lambda f: no_weights(f, "model-Q4.gguf"), "a GGUF file"),
    "the authors' own format": (lambda f: no_weights(f, "consolidated.00.pth"), "the authors' own format"),
    "consolidated.safetensors": (lambda f: no_weights(f, "consolidated.safetensors"), "the authors' own format"),
    "an adapter's weights": (lambda f: no_weights(f, "adapter_model.safetensors"), "a LoRA adapter"),
    "Flax": (lambda f: no_weights(f, "flax_model.msgpack"), "Flax weights"),
    "a large-file pointer": (lambda f: write(f, "model.safetensors", POINTER.encode()), "git lfs pull"),
    "cut in the tensors": (lambda f: cut(f, 20_000), "cut off, or written over"),
    "cut in the header": (lambda f: cut(f, 100), "is cut off: 100 bytes"),
    "empty": (lambda f: cut(f, 0), "is cut off: 0 bytes"),
    "html in its place": (lambda f: write(f, "model.safetensors", b"<!DOCTYPE html><html></html>" * 9), "is cut off"),
    "no file of PyTorch's": (lambda f: (no_weights(f), write(f, "pytorch_model.bin", b"<html>")), "no file of PyTorch"),
    "config in UTF-16": (lambda f: write(f, "config.json", '{"a": 1}'.encode("utf-16")), "is not UTF-8"),
    "config cut off": (lambda f: write(f, "config.json", b'{"model_type": '), "config.json, line 1: no JSON"),
    "config is a pointer": (lambda f: write(f, "config.json", POINTER.encode()), "a large-file pointer"),
    "config is a list": (lambda f: write(f, "config.json", b"[]"), "holds no JSON object"),
    "an unknown architecture": (lambda f: write(f, "config.json", b'{"model_type": "nonesuch"}'), "nonesuch"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "an empty folder": (lambda f: (shutil.rmtree(f), f.mkdir()), "the folder is empty"),
    "no head": (lambda f: edit(f, lambda t: t.pop(LM_HEAD)), "1 weights are missing in its files, such as lm_head"),
    "other names": (lambda f: edit(f, lambda t: t.update(norm=t.pop(NORM))), "are missing in its files"),
    "too many": (lambda f: edit(f, lambda t: t.update({"score.weight": t[NORM].clone()})), "left over in its files"),
    "another shape": (lambda f: edit(f, lambda t: t.update({NORM: torch.ones(3)})), "cannot be loaded"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_whole_is_one_line(kind, model):
    spoil, expected = BROKEN[kind]
    spoil(model)
    with pytest.raises(InputError, match=expected) as error:
        load_model(str(model), "float32")
    assert "\n" not in str(error.value)
    assert model.name in str(error.value)


@pytest.mark.parametrize("shards", [1, 2])
def test_what_is_whole_is_loaded(whole, tmp_path, shards):
    expected = load_model(str(whole), "float32")
    expected.save_pretrained(tmp_path, max_shard_size="5GB" if shards == 1 else "20KB")
    assert (tmp_path / "model.safetensors").exists() == (shards == 1)
    found = load_model(str(tmp_path), "float32").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.state_dict().items())


def test_an_old_bin_file_is_loaded(whole, tmp_path):
    expected = load_model(str(whole), "float32").state_dict()
    shutil.copy(whole / "config.json", tmp_path)
    torch.save(expected, tmp_path / "pytorch_model.bin")
    found = load_model(str(tmp_path), "float32").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_tied_weights_are_not_missing(tmp_path):
    save_random(llama_config(64, tie_word_embeddings=True), tmp_path)
    assert LM_HEAD not in load_file(tmp_path / "model.safetensors")
    load_model(str(tmp_path), "float32")


class TestRandomWeights:
    def test_are_made_where_they_are_asked_for_the_same_every_time(self, model, caplog):
        no_weights(model)
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = load_model(str(model), "float32", random_weights=True).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        second = load_model(str(model), "float32", random_weights=True).state_dict()
        assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
        assert "RANDOM weights" in caplog.text

    def test_are_refused_where_there_are_weights(self, model):
        with pytest.raises(InputError, match=r"random_weights is true, but .*model\.safetensors holds weights"):
            load_model(str(model), "float32", random_weights=True)

    def test_are_refused_for_a_hub_name(self):
        with pytest.raises(InputError, match="needs a local folder"):
            load_model("no/such", "float32", random_weights=True)


def test_through_the_front_door_before_a_row_is_read(world: World):  # noqa: F811
    for name, flags, expected in (
        ("a file", ["--model.pretrained", str(world.folder / "train.jsonl")], "is a file, expected a model folder"),
        ("no weights", ["--model.pretrained", str(world.folder / "bare")], "has a config.json and no weights"),
    ):
        (world.folder / "bare").mkdir(exist_ok=True)
        shutil.copy(world.folder / "model/config.json", world.folder / "bare")
        run = world.start("fit", *flags, "--tokenizer", str(world.folder / "model"), "--name", "broken").wait()
        assert run.status == 2, name
        assert expected in run.err
        assert run.err.count("\n") <= 2, run.err
        assert not (world.folder / "runs" / "broken").exists()


def test_a_tokenizer_with_more_ids_than_the_model_has_rows(world: World):  # noqa: F811
    """A chat token was added and the embeddings were not resized: an IndexError in the middle of a run."""
    tokenizer = AutoTokenizer.from_pretrained(world.folder / "model")
    tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["<|turn|>"]})
    tokenizer.save_pretrained(world.folder / "more")
    for command in ("fit", "test", "plan"):
        run = world.start(command, "--tokenizer", str(world.folder / "more"), "--name", "more").wait()
        assert run.status == 2, command
        assert "has 422 ids (up to 421), and the model" in run.err
        assert "only 420 rows" in run.err
