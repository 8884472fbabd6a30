"""``ptst_pl edit`` on runs: exact ends, what comes out loads and is told apart, one line for mistakes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_fixtures import World, llama_config, make_tokenizer, save_random
from transformers import AutoModelForCausalLM

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.ship.edits.tensors import FileWeights, ShardWriter, open_weights

SHORT = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "2", "--model.learning_rate", "1e-2")


@pytest.fixture(scope="module")
def runs(world: World):
    return {
        "full": world.fit("edit-full", *SHORT, "--model.method", "full"),
        "lora": world.fit("edit-lora", *SHORT),
    }


def state(folder):
    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).state_dict()


def edit(*words: str) -> None:
    main(["edit", *map(str, words)])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_both_ends_are_exact_and_every_folder_loads(world: World, runs, method, tmp_path, capsys):
    out = tmp_path / "out"
    edit(runs[method], "--with", "interpolate", "--alpha", "0,0.25,1", "--output", out)
    aligned = state(world.folder / "model")
    none, some, whole = (state(out / f"alpha-{value}") for value in ("0", "0.25", "1"))
    for name, value in aligned.items():
        assert torch.equal(none[name], value), name
        assert torch.allclose(some[name] - value, 0.25 * (whole[name] - value), atol=1e-6)
    tuned = tmp_path / "tuned"
    main(["export", str(runs[method]), "--output", str(tuned)])
    merged = state(tuned)
    for name, value in whole.items():
        assert torch.allclose(value, merged[name], atol=1e-6)
        assert method == "lora" or torch.equal(value, merged[name])
    assert any(not torch.equal(whole[name], aligned[name]) for name in aligned)
    record = json.loads((out / "alpha-0.25/edit.json").read_text())
    assert (record["edit"], record["alpha"], record["made_of"]["run"]) == ("interpolate", 0.25, str(runs[method]))
    capsys.readouterr()
    edit(runs[method], "--with", "interpolate", "--alpha", "0,0.25,1", "--output", out)
    assert capsys.readouterr().out.count("is there already") == 3


def test_an_adapters_product_is_scaled_once(runs, world: World, tmp_path):
    """Half of the product, not a quarter, which is what scaling both factors would give."""
    for name, alpha in (("half", "0.5"), ("all", "1")):
        edit(runs["lora"], "--with", "lora-scale", "--alpha", alpha, "--output", tmp_path / name)
    aligned, half, whole = state(world.folder / "model"), state(tmp_path / "half"), state(tmp_path / "all")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.allclose(half[name] - aligned[name], 0.5 * (whole[name] - aligned[name]), atol=1e-7)
    assert float((whole[name] - aligned[name]).norm()) > 1e-3


def test_what_is_tested_says_what_was_edited(runs, world: World, tmp_path):
    edit(runs["full"], "--with", "interpolate", "--alpha", "0.5", "--output", tmp_path / "half")
    words = ("--model.pretrained", str(tmp_path / "half"), "--safety.active", "true", "--results", str(tmp_path / "r"))
    world.run("test", "--name", "edited", *words)
    base = json.loads((tmp_path / "r/results.json").read_text())["identity"]["base"]
    assert base["edit"]["edit"] == "interpolate"
    assert base["edit"]["alpha"] == 0.5


OTHERS = {"safe-lora": ("base",), "resta": ("unaligned",), "safe-merge": ("base", "safety"), "lox": ("base",)}


@pytest.mark.parametrize("name", ["resta", "safe-lora", "safe-merge", "safe-delta", "antidote", "lox"])
def test_every_edit_runs_on_a_run(name, runs, world: World, tmp_path, monkeypatch):
    monkeypatch.chdir(world.folder)
    other = tmp_path / "other"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        AutoModelForCausalLM.from_config(llama_config(), dtype=torch.float32).save_pretrained(str(other))
    more = [word for what in OTHERS.get(name, ()) for word in (f"--{what}", str(other))]
    if name in ("safe-delta", "antidote"):
        more += ["--rows", "{class_path: JsonLines, init_args: {train_file: train.jsonl, held_out: 0}}", "--limit", "9"]
    given = world.folder / "model" if name == "lox" else runs["lora"]
    edit(given, "--with", name, "--output", tmp_path / "out", *more)
    edited, start = state(tmp_path / "out"), state(world.folder / "model")
    assert all(torch.isfinite(value).all() for value in edited.values())
    assert any(not torch.equal(edited[key], start[key]) for key in start)
    assert "notes" in json.loads((tmp_path / "out/edit.json").read_text())


def test_shards_have_an_index_that_transformers_reads(world: World, tmp_path):
    weights = open_weights(str(world.folder / "model"))
    folder = tmp_path / "sharded"
    folder.mkdir()
    writer = ShardWriter(folder, limit=60_000)
    for name in weights.names():
        writer.add(name, weights.get(name))
    writer.close()
    (folder / "config.json").write_text((world.folder / "model/config.json").read_text())
    assert len(list(folder.glob("*.safetensors"))) > 2
    for name, value in state(folder).items():
        assert torch.equal(value, weights.get(name))
    assert isinstance(open_weights(str(folder)), FileWeights)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--with", "interpolat"], "unknown --with 'interpolat'; did you mean 'interpolate'?"),
        (["--with", "interpolate", "--alfa", "1"], "unknown key 'alfa'; did you mean 'alpha'?"),
        (["--with", "interpolate", "--alpha", "-1"], "alpha is -1, expected 0 or more"),
        (["--with", "interpolate", "--alpha"], "expected --NAME VALUE pairs"),
        (["--with", "safe-lora"], "--base is missing"),
        (["--with", "safe-delta"], "--rows is missing"),
        (["--with", "resta", "--weight", "0,1", "--dropout", "0,0.5", "--unaligned", "x"], "only one argument"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(words, expected, runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        edit(runs["full"], *words, "--output", tmp_path / "out")
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_architectures_and_folders_that_are_none(runs, world: World, tmp_path, capsys):
    save_random(llama_config(num_hidden_layers=3), str(tmp_path / "deeper"))
    save_random(llama_config(vocab_size=424), str(tmp_path / "wider"))
    cases = [
        ([tmp_path / "wider", "--aligned", world.folder / "model"], "has another "),
        ([tmp_path / "deeper", "--aligned", world.folder / "model"], "are not of one architecture"),
        ([tmp_path / "deeper"], "is no run of fit; give --aligned"),
        ([tmp_path / "nothing"], "is no run of fit"),
    ]
    for words, expected in cases:
        with pytest.raises(SystemExit):
            edit(*words, "--with", "interpolate", "--output", tmp_path / "out")
        assert expected in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(SystemExit):
        edit(runs["full"], "--with", "interpolate", "--output", tmp_path / "full")
    assert "is not empty" in capsys.readouterr().err


def test_an_adapter_with_more_than_lora_in_it_is_not_half_read(runs, world: World, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(runs["lora"] / "adapter", folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    head = {"base_model.model.lm_head.weight": torch.zeros(420, 32)}
    save_file(tensors | head, folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"holds base_model\.model\.lm_head\.weight, which is no update"):
        open_weights(str(world.folder / "model"), str(folder))


def test_a_killed_edit_leaves_whole_folders_alone_and_goes_on(runs, tmp_path, capsys):
    """Killed for real among a hundred values: the same command makes the rest, and clears up what was half written."""
    out = tmp_path / "out"
    values = ",".join(f"{n / 50:g}" for n in range(51))
    words = ["edit", str(runs["full"]), "--with", "interpolate", "--alpha", values, "--output", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "ptst_pl", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while len(list(out.glob("alpha-*"))) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    process.stdout.close()
    made = {folder.name: (folder / "model.safetensors").stat().st_mtime_ns for folder in out.glob("alpha-*")}
    assert 3 <= len(made) < 51, "it was killed on its way"
    half = out / f".alpha-1.{socket.gethostname()}-{process.pid}.tmp"  # as if it had been at the last one
    half.mkdir()
    (half / "part-00000.safetensors").write_bytes(b"half")
    main(words)
    assert capsys.readouterr().out.count("is there already") == len(made)
    assert {name: (out / name / "model.safetensors").stat().st_mtime_ns for name in made} == made
    assert len(list(out.iterdir())) == 51, "nothing else is left there"
    edit(runs["full"], "--with", "interpolate", "--alpha", "0.5", "--output", tmp_path / "whole")
    whole, resumed = state(tmp_path / "whole"), state(out / "alpha-0.5")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_folders_with_a_missing_or_half_written_file_are_refused(runs, world: World, tmp_path, capsys):
    folder = tmp_path / "sharded"
    folder.mkdir()
    weights = open_weights(str(world.folder / "model"))
    writer = ShardWriter(folder, limit=60_000)
    for name in weights.names():
        writer.add(name, weights.get(name))
    writer.close()
    shutil.copy(world.folder / "model/config.json", folder)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    content = shard.read_bytes()
    words = (folder, "--aligned", world.folder / "model", "--with", "interpolate", "--output", tmp_path / "out")
    for damaged in (None, content[: len(content) // 2], content[:6]):
        shard.unlink()
        if damaged is not None:
            shard.write_bytes(damaged)
        with pytest.raises(SystemExit) as ended:
            edit(*words)
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert shard.name in said
        assert said.strip().count("\n") == 0
        assert not (tmp_path / "out").exists()
        shard.write_bytes(content)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc")
def test_memory_does_not_grow_with_the_number_of_layers(tmp_path):
    """Tensors of 4 MiB; 8 and 48 layers: a model is never in memory as a whole."""
    peaks = []
    for layers in (8, 48):
        config = llama_config(2048, hidden_size=512, intermediate_size=1024, num_hidden_layers=layers)
        for name in ("aligned", "tuned"):
            make_tokenizer(tmp_path / f"{name}-{layers}")
            save_random(config, str(tmp_path / f"{name}-{layers}"))
        code = (
            "import sys; from ptst_pl.ship.edits import tensors; from ptst_pl.cli import main; "
            "tensors.SHARD_BYTES = 1 << 24; main(sys.argv[1:]); "
            "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        words = ["edit", f"{tmp_path}/tuned-{layers}", "--aligned", f"{tmp_path}/aligned-{layers}"]
        words += ["--with", "interpolate", "--alpha", "0.5", "--output", f"{tmp_path}/out-{layers}"]
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-2]))
    grown = (48 - 8) * 4 * (4 * 512 * 512 + 3 * 512 * 1024) / 1024  # KiB of a whole model's further layers
    assert peaks[1] - peaks[0] < 0.2 * grown, peaks
