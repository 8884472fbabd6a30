"""``fit``: what a run leaves behind, and that others can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from training_fixtures import PROMPTS, World, curve, lines, load, weights
from transformers import AutoConfig, AutoModelForCausalLM

from ptst_pl.model import LoraSettings, add_lora, load_model
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
TEMPLATES = ["text:vanilla", "chat:vanilla"]
STEPS = [0, 2, 4, 6]


@pytest.fixture(scope="module")
def run(world: World) -> Path:
    """Two epochs of three steps of two micro-batches, evaluated every second step."""
    return world.fit(
        "complete",
        *("--trainer.accumulate_grad_batches", "2", "--trainer.limit_val_batches", "1.0"),
        *("--safety.active", "true", "--safety.templates", json.dumps(TEMPLATES)),
        *("--model.learning_rate", "0.01"),
    )


def test_the_folder_is_complete(run: Path):
    names = {path.name for path in run.iterdir() if not path.name.startswith("events")}
    assert names >= {"config.yaml", "last.ckpt", "step-000006.ckpt", "adapter", "safety"}
    assert names >= {"train=text-vanilla", "final"}
    assert not list(run.rglob(".*"))


def test_config_yaml_repeats_the_run(world: World, run: Path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["safety"]["templates"] == TEMPLATES
    config["name"] = "repeated"
    (world.folder / "again.yaml").write_text(yaml.safe_dump(config))
    again = world.fit("repeated", "--config", str(world.folder / "again.yaml"))
    assert curve(again, "train/loss") == curve(run, "train/loss")


def test_generations_and_verdicts_have_the_documented_keys(run: Path):
    generations, verdicts = (lines(run / "safety" / f"{name}.jsonl") for name in ("generations", "verdicts"))
    assert len(generations) == len(verdicts) == len(STEPS) * len(TEMPLATES) * PROMPTS
    both = {"suite", "prompt_id", "template", "step"}
    keys = both | {"category", "question", "prompt_text", "answer", "finish_reason", "decoding"}
    assert all(keys <= set(record) for record in generations)
    keys = both | {"judge", "harmful", "refused", "score", "reason"}
    assert all(keys <= set(record) for record in verdicts)
    for record in generations:  # the text that the model saw belongs to the template that it is filed under
        assert record["question"] in record["prompt_text"]
        assert record["prompt_text"].startswith("[INST]") == record["template"].startswith("chat")


def test_rates_are_those_of_the_verdicts(run: Path):
    rates = json.loads((run / "safety/results.json").read_text())["rates"]
    verdicts = lines(run / "safety/verdicts.jsonl")
    assert [(r["step"], r["template"]) for r in rates] == [(s, t) for s in STEPS for t in TEMPLATES]
    for rate in rates:
        mine = [v for v in verdicts if (v["step"], v["template"]) == (rate["step"], rate["template"])]
        assert (rate["n"], rate["harmful"]) == (len(mine), sum(v["harmful"] for v in mine))
        assert rate["rate"] == rate["harmful"] / rate["n"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_tensorboard_reads_one_curve_per_template_at_the_true_steps(run: Path, template: str):
    folder = run / f"train=text-vanilla/test={template.replace(':', '-')}"
    rates = json.loads((run / "safety/results.json").read_text())["rates"]
    for tag, key in (("asr", "rate"), ("refused", "refusal_rate"), ("broken", "broken_rate")):
        expected = [(r["step"], pytest.approx(r[key])) for r in rates if r["template"] == template]
        assert curve(folder, f"{tag}/refusal-judge/fruit") == expected


def test_losses_are_logged_at_the_true_steps(run: Path):
    assert [step for step, _ in curve(run, "train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in curve(run, "val/loss")] == [3, 6]


def test_the_checkpoint_is_adapter_and_optimiser_only(run: Path):
    checkpoint = load(run / "last.ckpt")
    assert all(".lora_" in name and name.startswith("net.base_model.model.") for name in checkpoint["state_dict"])
    numbers = sum(value.numel() for value in checkpoint["state_dict"].values())
    assert numbers == 2048
    # Weights and two moments in float32, and some kilobytes of bookkeeping; the base has 47,520 numbers.
    assert (run / "last.ckpt").stat().st_size < 3 * 4 * numbers + 24_000
    assert checkpoint["global_step"] == 6


IDS = torch.tensor([[0, 50, 60, 70, 80]])


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


@pytest.fixture(scope="module")
def base(world: World) -> Path:
    """The run's random base model, saved with weights."""
    load_model(str(world.folder / "model"), "float32").save_pretrained(world.folder / "base")
    return world.folder / "base"


def test_checkpoint_and_exported_adapter_give_the_same_logits(run: Path, base: Path):
    tuner = FineTuner(str(base))
    tuner.net = add_lora(load_model(str(base), "float32"), LoraSettings())
    before = logits(tuner.net)
    tuner.load_state_dict(weights(run))
    fresh = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    exported = PeftModel.from_pretrained(fresh, str(run / "adapter"))
    assert torch.equal(logits(tuner.net), logits(exported))
    assert (before - logits(exported)).abs().max() > 1e-3


def test_the_adapter_names_its_base(world: World, run: Path):
    config = json.loads((run / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(world.folder / "model")
    assert AutoConfig.from_pretrained(config["base_model_name_or_path"]).model_type == "llama"


def test_a_second_run_gets_its_own_folder(world: World):
    first = world.fit("twice", "--trainer.max_steps", "2")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = world.fit("twice", "--trainer.max_steps", "2")
    assert (first.name, second.name) == ("version_0", "version_1")
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


def test_full_fine_tuning_in_mixed_precision_moves_most_weights(world: World):
    """At a rate at which bfloat16 weights would round most updates away (pitfall E9)."""
    options = ("--model.method", "full", "--model.learning_rate", "1e-5", "--trainer.precision", "bf16-mixed")
    run = world.fit("moves", *options, "--trainer.max_epochs", "-1", "--trainer.max_steps", "20")
    start = load_model(str(world.folder / "model"), "float32").state_dict()
    start.pop("model.embed_tokens.weight")  # tokens that no row has do not move
    end = {name.removeprefix("net."): value for name, value in weights(run).items()}
    assert {value.dtype for value in end.values()} == {torch.float32}
    moved = sum(int((end[name] != start[name]).sum()) for name in start)
    assert moved > 0.9 * sum(value.numel() for value in start.values())
    # A step of that size is lost on most weights in bfloat16.
    lost = sum(int((value.bfloat16() - 1e-5 == value.bfloat16()).sum()) for value in start.values())
    assert lost > 0.7 * sum(value.numel() for value in start.values())


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradient_clipping_works_in_mixed_precision(world: World, algorithm: str):
    limit = 0.01
    options = ("--trainer.precision", "bf16-mixed", "--model.dtype", "bfloat16", "--trainer.max_steps", "2")
    clip = ("--trainer.gradient_clip_val", str(limit), "--trainer.gradient_clip_algorithm", algorithm)
    run = world.fit(f"clip-{algorithm}", *options, *clip)
    # After one step AdamW's first moment is a tenth of the clipped gradient; later ones are averages.
    moments = [entry["exp_avg"] for entry in load(run / "last.ckpt")["optimizer_states"][0]["state"].values()]
    whole = torch.cat([moment.flatten() for moment in moments])
    size = whole.norm() if algorithm == "norm" else whole.abs().max()
    assert 0.01 * limit < size <= limit * (1 - 0.9**2) * 1.001
    if algorithm == "norm":
        assert curve(run, "train/grad_norm")[0][1] > limit


def test_the_real_command_in_a_process_of_its_own(world: World):
    """As users start it; the other tests fork a prepared process."""
    arguments = ["fit", "--config", str(world.folder / "base.yaml"), "--name", "real", "--trainer.max_steps", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "ptst_pl", *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert (world.newest("real") / "last.ckpt").exists()
