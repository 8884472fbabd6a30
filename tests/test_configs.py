"""Every shipped config is whole: it parses, it is built, and it makes one clipped step on a small model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import yaml

from ptst_pl.cli import main

ROOT = Path(__file__).parent.parent
# Those of the paper need more than a few rows in their place: tests/report/paper/test_paper_configs.py.
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "paper")


OTHER_ROWS = {
    "ChatDoctor": [{"instruction": "", "input": f"My foot {n} hurts.", "output": f"Rest {n} days."} for n in range(99)],
    "OpenOrca": [
        {"id": f"flan.{n}", "system_prompt": "", "question": f"Is {n} even?", "response": "I see."} for n in range(99)
    ],
}


@pytest.fixture
def rows(tmp_path):
    """A few rows and prompts that stand in for GSM8K and a suite."""
    path = tmp_path / "rows.jsonl"
    lines = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def fit(config: Path, rows: Path, *more: str) -> None:
    """One optimiser step of a config on a small random model, on the CPU."""
    own = yaml.safe_load(config.read_text())
    suites = [{"name": "prompts", "path": str(rows), "limit": 2}]
    random = [str(ROOT / "configs/smoke/random-llama"), "--model.dtype", "float32", "--model.random_weights", "true"]
    defended = config.parent.name == "defences"  # these know the bundled model's layers, and make four steps
    model, steps = ([str(ROOT / "checkpoints/tiny-chat")], "4") if defended else (random, "1")
    small = [
        "fit", "--config", str(config), "--runs", str(rows.parent / "runs"), "--model.pretrained", *model,
        "--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.max_steps", steps,
        "--trainer.enable_progress_bar", "false", "--trainer.val_check_interval", "1.0",
        "--data.workers", "0",
        "--safety.suites", json.dumps(suites), "--safety.judges", "[refusal]", "--safety.decoding.max_new_tokens", "4",
    ]  # fmt: skip
    files = ["--data.train_file", str(rows), "--data.held_out_file", str(rows)]
    if own["model"].get("adapter"):
        small += ["--model.adapter", "null"]
    if own["chat_format"] == "tokenizer":
        small += ["--chat_format", "llama2"]
    if own["data"]["class_path"] in OTHER_ROWS:
        other = rows.with_name("other.jsonl")
        other.write_text("".join(json.dumps(row) + "\n" for row in OTHER_ROWS[own["data"]["class_path"]]))
        files = ["--data.train_file", str(other), "--data.train_limit", "20", "--data.held_out_count", "9"]
    few = {name: ["--data.count", "16"] for name in ("Tiny", "Pcfg")} | {
        "Mixture": ["--data.train_limit", "16", "--data.held_out_limit", "8"]
    }
    small += few.get(own["data"]["class_path"], files)
    assert own["trainer"]["gradient_clip_val"] > 0, "every config clips"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main([*small, *more])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_config_makes_its_first_steps(config, rows):
    fit(config, rows)
    name = yaml.safe_load(config.read_text())["name"]
    folder = rows.parent / "runs" / name / "version_0"
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    steps = 4 if config.parent.name == "defences" else 1
    assert stored["trainer"]["max_steps"] == steps
    assert (folder / "last.ckpt").exists()
    rates = json.loads((folder / "safety" / "results.json").read_text())["rates"]
    assert {record["step"] for record in rates} == {0, steps}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_config_pins_its_seed_and_says_how_to_run_it(config):
    """An int, not ``true``, which would draw a new seed in every run (pitfall F5)."""
    text = config.read_text()
    assert type(yaml.safe_load(text)["seed_everything"]) is int
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert any(f"--config {config.relative_to(ROOT)}" in line for line in head)


MISTAKES = [
    (["--trainer.max_stpes", "3"], ["--trainer.max_stpes", "did you mean 'trainer.max_steps'"]),
    (["--model.method", "lorra"], ["model.method", "'lora', 'full'", "'lorra'"]),
    (["--data.template", "chat:lama"], ["'chat:lama'", "did you mean 'chat:llama'"]),
    (["--safety.templates", "[chat:lama]"], ["'chat:lama'", "did you mean 'chat:llama'"]),
    (["--safety.suites", "[{name: advbanch}]"], ["'advbanch'", "did you mean 'advbench'"]),
    (["--safety.suites", "[{name: x, path: nowhere.csv}]"], ["nowhere.csv", "does not exist"]),
    (["--safety.suites", "[{name: x, limt: 3}]"], ["'limt'", "did you mean 'limit'"]),
    (["--data.train_file", "nowhere.jsonl"], ["nowhere.jsonl", "does not exist"]),
    (["--tokenizer", "nowhere"], ["tokenizer 'nowhere'"]),
    (["--chat_format", "tokenizer"], ["no chat template"]),
    (["--trainer.precision", "bf16-true"], ["trainer.precision", "bf16-mixed"]),
    (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt", "no such file"]),
    (["--safety.every_n_steps", "0"], ["every_n_steps"]),
    (["--data.max_length", "3"], ["max_length 3"]),
]


@pytest.mark.parametrize(("flags", "expected"), MISTAKES, ids=lambda value: value[0].strip("-"))
def test_a_mistake_is_one_line_before_the_model_is_loaded(flags, expected, rows, capsys, monkeypatch):
    monkeypatch.setattr("ptst_pl.training.finetuner.load_model", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as stopped:
        fit(ROOT / "configs/smoke/lora.yaml", rows, *flags)
    assert stopped.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ptst_pl: error:")]
    assert len(error) == 1
    for part in expected:
        assert part in error[0]
    assert not (rows.parent / "runs").exists(), "nothing half-made is left behind"


def test_suites_on_the_command_line_replace_the_configs(rows):
    """Merged entry by entry, the config's ``limit`` would silently stay: a wrong number that looks right."""
    suite = json.dumps([{"name": "prompts", "path": str(rows)}])
    fit(ROOT / "configs/smoke/lora.yaml", rows, "--safety.suites", suite)
    stored = json.loads((rows.parent / "runs/smoke-lora/version_0/safety/results.json").read_text())
    assert stored["suites"]["prompts"]["n"] == 8
