"""``model.adapter``: go on from a LoRA adapter. It is merged first, and the run knows what it started from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from training_fixtures import World, lines, world  # noqa: F401
from transformers import AutoModelForCausalLM

from ptst_pl import InputError
from ptst_pl.model import load_model
from ptst_pl.model.adapter import check_adapter
from ptst_pl.model.base_identity import base_identity

RATE = ("--model.learning_rate", "0.03")  # so that answers change
ACTIVE = ("--safety.active", "true", "--safety.every_n_steps", "100", *RATE)


@pytest.fixture(scope="module")
def first(world: World) -> Path:  # noqa: F811
    return world.fit("first", *ACTIVE)


def answers(folder: Path, step: int) -> list[str]:
    return [row["answer"] for row in lines(folder / "generations.jsonl") if row["step"] == step]


def test_the_merged_model_answers_as_the_run_that_made_the_adapter(world: World, first: Path):  # noqa: F811
    trained = max(row["step"] for row in lines(first / "safety/generations.jsonl"))
    expected = answers(first / "safety", trained)
    assert expected != answers(first / "safety", 0)
    world.run("test", "--name", "merged", "--safety.active", "true", "--model.adapter", str(first / "adapter"))
    (folder,) = (world.folder / "runs/merged").rglob("generations.jsonl")
    assert answers(folder.parent, 0) == expected
    base = json.loads((folder.parent / "results.json").read_text())["identity"]["base"]
    assert base == base_identity(str(world.folder / "model"), adapter=str(first / "adapter"))
    assert base["adapter"] == str(first / "adapter")
    assert base["weights"] not in (None, base_identity(str(world.folder / "model"))["weights"])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_goes_on_from_it_is_measured_exported_and_tested_alike(world: World, first: Path, method, tmp_path):  # noqa: F811
    adapter = ("--model.adapter", str(first / "adapter"), "--model.method", method)
    run = world.fit(f"second-{method}", *ACTIVE, *adapter)
    step = max(row["step"] for row in lines(run / "safety/generations.jsonl"))
    assert answers(run / "safety", 0) == answers(first / "safety", step)
    world.run("test", "--name", f"second-{method}", "--safety.active", "true", *adapter, "--ckpt_path", "last")
    (tested,) = (run / "test").rglob("generations.jsonl")
    assert answers(tested.parent, step) == answers(run / "safety", step)

    from ptst_pl.ship.export.command import main

    main(["ptst_pl", str(run), "--output", str(tmp_path / "out")])
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.arange(3, 40)[None]
    if method == "full":
        reached = AutoModelForCausalLM.from_pretrained(run / "model")
    else:
        reached = PeftModel.from_pretrained(
            load_model(str(world.folder / "model"), "float32", adapter=str(first / "adapter")), str(run / "adapter")
        ).eval()
    torch.testing.assert_close(exported(ids).logits, reached(ids).logits, rtol=1e-4, atol=1e-4)
    assert f"with the adapter `{first / 'adapter'}` merged first" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("change", ["without it", "another"])
def test_a_checkpoint_belongs_to_its_adapter(world: World, first: Path, change, tmp_path):  # noqa: F811
    adapter = ("--model.adapter", str(first / "adapter"))
    if not (world.folder / "runs/third").exists():
        world.fit("third", *ACTIVE, *adapter)
    other = Path(shutil.copytree(first / "adapter", tmp_path / "other"))
    tensors = {name: tensor + 0.01 for name, tensor in load_file(other / "adapter_model.safetensors").items()}
    save_file(tensors, other / "adapter_model.safetensors", metadata={"format": "pt"})
    given = () if change == "without it" else ("--model.adapter", str(other))
    ended = world.start("fit", "--name", "third", *ACTIVE, *given, "--ckpt_path", "last").wait()
    assert ended.status == 2
    assert "not the same thing: the base model's weights" in ended.err
    assert f"with {first / 'adapter'} there" in ended.err


def spoilt(folder: Path, **changes: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def tensors_of(folder: Path, change) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


FAULTS = {
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no weights"),
    "prompt tuning": (lambda f: spoilt(f, peft_type="PROMPT_TUNING"), "of type PROMPT_TUNING, which cannot be merged"),
    "another rank": (lambda f: spoilt(f, r=3), "does not fit"),
    "other layers": (lambda f: spoilt(f, target_modules=["nonesuch"]), "does not fit"),
    "half the layers": (lambda f: spoilt(f, target_modules=["q_proj"]), "does not fit"),
    "missing tensors": (lambda f: tensors_of(f, lambda t: t.pop(min(t))), "does not fit"),
    "cut off": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"x" * 50), "does not fit"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_does_not_fit_is_one_line(world: World, first: Path, kind, tmp_path):  # noqa: F811
    folder = Path(shutil.copytree(first / "adapter", tmp_path / "adapter"))
    spoil, expected = FAULTS[kind]
    spoil(folder)
    with pytest.raises(InputError, match=expected) as error:
        load_model(str(world.folder / "model"), "float32", adapter=str(folder))
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_a_quantised_base_takes_none():
    with pytest.raises(InputError, match="quantised ones rounds it away"):
        check_adapter("anything", "nf4")


def test_a_fault_ends_the_command_before_anything_is_written(world: World):  # noqa: F811
    ended = world.start("fit", "--name", "never", "--model.adapter", str(world.folder / "model")).wait()
    assert ended.status == 2
    assert "Traceback" not in ended.err
    assert "has no adapter_config.json" in ended.err
    assert not (world.folder / "runs/never").exists()
