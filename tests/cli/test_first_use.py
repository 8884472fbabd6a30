"""A newcomer's first commands: ``init``, ``demo``, configs by name, and a wheel in a folder without the repository."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training_fixtures import World, world  # noqa: F401

import ptst_pl
from ptst_pl.cli import main
from ptst_pl.results.shipped import shipped, shipped_configs, with_shipped_configs

ROOT = Path(ptst_pl.__file__).parents[1]
SHORT = (
    *("--trainer.max_steps", "2", "--data.init_args.count", "40", "--trainer.accumulate_grad_batches", "1"),
    *("--safety.decoding.max_new_tokens", "12"),
    *("--safety.suites", "[{name: tiny-hard, limit: 4}, {name: tiny-howto, limit: 4, measures: helpfulness}]"),
)


def command(folder: Path, *words: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ptst_pl", *words],
        cwd=folder, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=280,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project as a wheel, installed into a folder of its own."""
    made, installed = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "project"
    # A copy, so that the build leaves nothing in the tree.
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("no git checkout to build a wheel from")
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *options, "-w", str(made), str(source)], check=True, capture_output=True)
    (file,) = made.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(installed), str(file)], check=True)
    return installed


def test_a_wheel_runs_the_demo_in_an_empty_folder_and_ends_in_one_screen(wheel, tmp_path):
    where = command(tmp_path, "--version", path=wheel)
    assert where.returncode == 0, where.stderr
    assert (wheel / "ptst_pl/py.typed").is_file()
    assert (wheel / "ptst_pl/shipped/checkpoints/real-aligned/adapter_model.safetensors").is_file()
    assert (wheel / "ptst_pl/shipped/data/real/benign.jsonl").is_file()
    done = command(tmp_path, "demo", *SHORT, path=wheel)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.strip().splitlines()
    assert len(said) <= 24, "a screen, not a scroll"
    assert any(line.startswith("trained under") and "ASR" in line for line in said)
    (sentence,) = [line for line in said if line.startswith("PTST ")]
    assert "the usual way" in sentence
    assert "helpfulness" in sentence
    for kind in ("picture:", "page:"):
        (path,) = [line.split()[1] for line in said if line.startswith(kind)]
        assert (tmp_path / path).is_file()
    page = (tmp_path / "checkpoints/demo-report/report.html").read_text(encoding="utf-8")
    assert sentence.split(";")[0] in page
    stored = json.loads((tmp_path / "checkpoints/tiny-ptst/version_0/safety/results.json").read_text())
    assert str(wheel) in stored["identity"]["base"]["name"], "the model of the wheel, not of the repository"


def test_configs_are_found_by_name_and_ones_own_file_comes_first(monkeypatch, tmp_path):
    assert {"tiny/ptst", "paper/gsm8k-llama2-7b-lora", "smoke/lora"} <= set(shipped_configs())
    monkeypatch.chdir(tmp_path)
    found = with_shipped_configs(["fit", "--config", "tiny/ptst", "--name", "x"])
    model = str(shipped("checkpoints/tiny-chat"))
    assert found == [
        "fit", "--config", str(ROOT / "configs/tiny/ptst.yaml"), "--model.pretrained", model, "--name", "x",
    ]  # fmt: skip
    assert with_shipped_configs(["fit", "--config=configs/tiny/ptst.yaml"])[1].endswith("configs/tiny/ptst.yaml")
    adapter = with_shipped_configs(["fit", "--config", "real/gsm8k"])[-2:]
    assert adapter == ["--model.adapter", str(shipped("checkpoints/real-aligned"))]
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/ptst").write_text("mine")
    for words in (["fit", "--config", "tiny/ptst"], ["fit", "--config", "nonesuch"], ["report", "tiny/ptst"]):
        assert with_shipped_configs(words) == words
    assert with_shipped_configs(["fit", "-c", "../../etc/passwd"]) == ["fit", "-c", "../../etc/passwd"]


def test_init_writes_a_config_that_plan_takes_without_a_warning(world: World, tmp_path):  # noqa: F811
    made = command(
        tmp_path, "init", "--model", str(world.folder / "model"), "--data", str(world.folder / "train.jsonl"),
        "--suite", str(world.folder / "suite.csv"), "--suite", "tiny-hard", "--output", "configs/mine.yaml",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "22 rows" in made.stdout
    file = tmp_path / "configs/mine.yaml"
    assert f"next: python -m ptst_pl plan --config {file.relative_to(tmp_path)}" in made.stdout
    config = yaml.safe_load(file.read_text())
    assert config["name"] == "mine"
    assert config["data"]["init_args"]["template"] == "chat:vanilla"
    assert config["safety"]["templates"] == ["chat:vanilla", "chat:llama"]
    more = ("--chat_format", "llama2", "--trainer.accelerator", "cpu")  # the small model has no chat template
    planned = command(tmp_path, "plan", "--config", str(file), *more, "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["model"]["trainable"] > 0
    trained = command(tmp_path, "fit", "--config", str(file), *more, "--trainer.max_steps", "1", "--runs", "runs")
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert "warning:" not in trained.stderr
    again = command(
        tmp_path, "init", "--model", "m", "--data", str(world.folder / "train.jsonl"), "--output", str(file)
    )
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "init: --model is missing"),
        (["--model", "some/model"], "init: --data is missing"),
        (["--model", "./nowhere", "--data", "{train}"], "--model ./nowhere: no such folder"),
        (["--model", "some/model", "--data", "nowhere.jsonl"], "--data nowhere.jsonl: no such file"),
        (["--model", "some/model", "--data", "{train}", "--serve", "chat:lama"], "did you mean 'chat:llama'"),
        (["--model", "some/model", "--data", "{train}", "--serve", "chat:vanilla"], "has no safety prompt"),
        (["--model", "some/model", "--data", "{train}", "--train", "chat:llama"], "PTST trains without one"),
        (["--model", "some/model", "--data", "{train}", "--suite", "directharm"], "did you mean 'directharm4'"),
        (["--model", "some/model", "--data", "{empty}"], "has no row"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_and_no_file(world: World, tmp_path, flags, expected, monkeypatch, capsys):  # noqa: F811
    (tmp_path / "empty.jsonl").write_text('{"question": "Q", "answer": " "}\n')
    places = {"train": str(world.folder / "train.jsonl"), "empty": str(tmp_path / "empty.jsonl")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main(["init", *(flag.format(**places) for flag in flags)])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "ptst.yaml").exists()


def test_at_a_terminal_it_asks(world: World, tmp_path, monkeypatch):  # noqa: F811
    answers = iter([str(world.folder / "model"), str(world.folder / "train.jsonl"), ""])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or next(answers))
    main(["init", "--suite", "tiny-hard"])
    assert asked[-1] == "serving template, with a safety prompt [chat:llama]: "
    assert yaml.safe_load((tmp_path / "ptst.yaml").read_text())["safety"]["templates"] == ["chat:vanilla", "chat:llama"]
