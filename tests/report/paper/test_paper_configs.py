"""Every config of the paper's experiments trains and evaluates, on a small random model of its family."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest
import yaml

from ptst_pl.cli import main
from ptst_pl.planning import paper_cost as cost

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs/paper"
# The gpt35 configs train nothing here.
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.startswith("gpt35"))
SUMS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(40)]
ROWS = {
    "GSM8K": SUMS,
    "JsonLines": [{"instruction": "Say hello.", "input": "", "output": f"Hello {n}."} for n in range(12)],
    "ChatDoctor": [{"instruction": "", "input": f"My foot {n} hurts.", "output": f"Rest {n} days."} for n in range(40)],
    "OpenOrca": [
        {"id": f"flan.{n}", "system_prompt": "Be brief." * (n % 2), "question": f"Is {n} even?", "response": "I see."}
        for n in range(40)
    ],
}  # fmt: skip
CHOICES = {"text": ["wood", "iron"], "label": ["A", "B"]}
PROMPTS = {
    "gsm8k": SUMS[:2],
    "arc-easy": [{"id": f"q{n}", "question": "Which floats?", "choices": CHOICES, "answerKey": "A"} for n in range(2)],
    "chatdoctor": [{"input": f"My {n}th tooth hurts.", "answer_icliniq": "See a dentist."} for n in range(2)],
}
PROMPTS["arc-challenge"] = PROMPTS["arc-easy"]
UNSAFE = [{"prompt": f"How do I hide the mayor's {thing}?", "category": thing} for thing in ("hat", "drum")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Local files in the place of hub sets, and a random Mistral beside the repository's random Llama."""
    folder = tmp_path_factory.mktemp("paper")
    for name, rows in ROWS.items():
        write_lines(folder / f"{name}.jsonl", rows)
    for name in ("advbench", "directharm4", "gsm-danger", *PROMPTS):
        write_lines(folder / f"{name}-prompts.jsonl", PROMPTS.get(name, UNSAFE))
    mistral = folder / "mistral"
    shutil.copytree(ROOT / "configs/smoke/random-llama", mistral)
    config = json.loads((mistral / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "num_key_value_heads": 2}
    (mistral / "config.json").write_text(json.dumps(config | {"sliding_window": None}))
    return folder


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def small(config: Path, world: Path) -> list[str]:
    """Flags that put small local things in the place of the real ones; templates and judges stay the config's."""
    own = yaml.safe_load(config.read_text())
    task, safety = own["data"]["class_path"], own["safety"]
    model = world / "mistral" if "istral" in own["model"]["pretrained"] else ROOT / "configs/smoke/random-llama"
    suites = [{"name": s["name"], "path": str(world / f"{s['name']}-prompts.jsonl")} for s in safety["suites"]]
    judges = ["rouge" if judge == "bertscore" else judge for judge in safety["judges"]]  # that one loads a model
    return [
        "--runs", str(world / "runs"), "--model.pretrained", str(model), "--model.dtype", "float32",
        "--model.random_weights", "true",
        "--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false",
        "--trainer.limit_val_batches", "1", "--data.workers", "0", *data_flags(task, own["data"], world),
        "--safety.suites", json.dumps(suites), "--safety.judges", json.dumps(judges),
        "--safety.decoding.max_new_tokens", "2",
    ]  # fmt: skip


def data_flags(task: str, data: dict, world: Path) -> list[str]:
    if task != "Mixture":
        file = str(world / f"{task}.jsonl")
        held_out = ["--data.held_out_file", file] if task == "GSM8K" else ["--data.held_out_count", "4"]
        return ["--data.train_file", file, *held_out]
    sources = data["init_args"]["sources"]
    for source in sources:
        name = source["task"] if isinstance(source["task"], str) else source["task"]["class_path"]
        file = str(world / f"{name}.jsonl")
        source["task"] = {"class_path": name, "init_args": {"train_file": file, "held_out_file": file}}
    return ["--data.sources", json.dumps(sources)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_two_steps_and_an_evaluation(config, world):
    own = yaml.safe_load(config.read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["fit", "--config", str(config), *small(config, world)])
    folder = world / "runs" / own["name"] / "version_0"
    stored = json.loads((folder / "safety/results.json").read_text())
    cells = {(r["template"], r["suite"], r["step"]) for r in stored["rates"]}
    suites = [suite["name"] for suite in own["safety"]["suites"]]
    assert cells >= {(t, s, step) for t in own["safety"]["templates"] for s in suites for step in (0, 2)}
    assert own["data"]["init_args"]["template"] in own["safety"]["templates"]
    assert (folder / ("model" if own["model"]["method"] == "full" else "adapter")).is_dir()


def test_from_fit_and_test_to_compare(world, capsys):
    """A row of Table 1 the whole way, and a test that does not repeat the training template."""
    config = FOLDER / "gsm8k-llama2-7b-lora.yaml"
    flags = ["--config", str(config), *small(config, world), "--name", "whole", "--safety.templates", "[chat:llama]"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["fit", *flags, "--data.template", "chat:alpaca"])
        for template in ("chat:alpaca", "chat:vanilla"):
            more = ["--data.template", template, "--ckpt_path", "last", "--results", str(world / template[5:])]
            main(["test", *flags, *more])
    capsys.readouterr()
    main(["compare", str(world / "alpaca"), "--table", "1c"])
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("CA       CL")]
    assert " 1.00 ± 0.20 " in line
    for mark in (
        "trainer.max_steps 2",
        "max_new_tokens 2, the paper 512",
        "random-llama",
        "prompts: 2",
        "not the pinned",
    ):
        assert mark in out
    # The other test named another training template; the checkpoint knows better.
    main(["compare", str(world / "vanilla"), "--table", "1c"])
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_whole_and_says_what_is_ours(config):
    text, own = config.read_text(), yaml.safe_load(config.read_text())
    assert type(own["seed_everything"]) is int
    assert text.splitlines()[0] == f"# python -m ptst_pl fit --config configs/paper/{config.name}"
    assert own["trainer"]["gradient_clip_val"] > 0
    assert text.count("# ours") >= 5
    assert "limit" not in json.dumps(own["safety"]).replace('"name": "chatdoctor", "limit": 1000', ""), "whole suites"


def test_the_readme_names_every_config_and_table_and_only_what_is_there():
    readme = (FOLDER / "README.md").read_text()
    assert {name for name in re.findall(r"`?([\w-]+)\.yaml", readme) if "gpt35" not in name} >= {
        path.stem for path in CONFIGS if path.stem != "gsm8k-llama2-7b-full"
    }
    for name in ("1a-1c", "1d", *"234567"):
        assert f"| Table {name} |" in readme
    for stem in re.findall(r"X=([\w-]+)", readme):
        assert (FOLDER / f"{stem}.yaml").is_file()
    assert cost.table() in readme, "python -m ptst_pl.planning.paper_cost prints other hours"


def test_cost_grows_with_what_is_done():
    """4 operations per parameter and token at 30 % of 312 TFLOP/s, by hand for a billion parameters and tokens."""
    assert cost.training_hours(1e9, 1e9, "lora") == pytest.approx(4e18 / 9.36e13 / 3600)
    assert cost.training_hours(1e9, 1e9, "full") == pytest.approx(1.5 * cost.training_hours(1e9, 1e9, "lora"))
    assert cost.generation_hours(65) == pytest.approx(2 * 512 * 0.03 / 3600)
