"""The model under test behind a real server: ``transformers serve`` on loopback with the bundled tiny model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FAULTS, error, says, serving

from ptst_pl.cli import main

ROOT = Path(__file__).parents[3]
MODEL = str(ROOT / "checkpoints" / "tiny-chat")
CONFIG = str(ROOT / "configs" / "tiny" / "untouched.yaml")
SECRET = "sk-this-must-not-be-anywhere-1234567890"
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The base URL of a running server."""
    home = tmp_path_factory.mktemp("serve")
    (home / "hub").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", MODEL, "--host", "127.0.0.1"]
    environment = os.environ | {"HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu"], env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def suites(limit: int, *more: dict) -> list[str]:
    return ["--safety.suites", json.dumps([{"name": "tiny-hard", "limit": limit}, *more])]


# Beside refusals, some answers.
ANSWERED = {"name": "tiny-lookalike", "limit": 3, "measures": "over-refusal"}


def ask(base_url: str, model: str, results: Path, *flags: str) -> list[dict]:
    """Run ``test`` against an endpoint; the stored answers."""
    endpoint = ["--endpoint.base_url", base_url, "--endpoint.model", model, "--results", str(results)]
    main(["test", "--config", CONFIG, *endpoint, "--safety.templates", "[chat:vanilla, chat:llama]", *flags])
    return [json.loads(line) for line in (results / "generations.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> list[dict]:
    """The answers of the same model without a server."""
    results = tmp_path_factory.mktemp("here")
    flags = ["--model.pretrained", MODEL, "--safety.templates", "[chat:vanilla, chat:llama]", "--results", str(results)]
    command = [sys.executable, "-m", "ptst_pl", "test", "--config", CONFIG, *flags, *suites(6, ANSWERED)]
    subprocess.run(command, check=True, capture_output=True, cwd=results)
    return [json.loads(line) for line in (results / "generations.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_served_and_local_answers_are_the_same(server, here, tmp_path, kind, monkeypatch):
    """Messages through the server's chat template, or rendered text: the model sees the same tokens."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    records = ask(server, MODEL, tmp_path / "served", "--endpoint.kind", kind, *suites(6, ANSWERED))
    assert [r["answer"] for r in records] == [r["answer"] for r in here]
    assert [(r["suite"], r["prompt_id"], r["template"], r["finish_reason"]) for r in records] == [
        (r["suite"], r["prompt_id"], r["template"], r["finish_reason"]) for r in here
    ]
    assert len({r["answer"] for r in records}) > 2
    for file in (tmp_path / "served").iterdir():
        assert SECRET not in file.read_text()
        assert kind in (tmp_path / "served/config.yaml").read_text()


def test_the_tiny_model_as_a_judge_scores_nothing_and_that_is_said(server, tmp_path, capsys, monkeypatch):
    """It cannot follow a rubric: every answer stays unscored, and there is no rate."""
    monkeypatch.setenv("PTST_PL_CACHE", str(tmp_path / "cache"))
    judge = {"class_path": "RubricJudge", "init_args": {"model": MODEL, "base_url": server, "max_tokens": 24}}
    results = tmp_path / "judged"
    ask(server, MODEL, results, *suites(4), "--safety.judges", json.dumps(["exact", judge]))
    verdicts = [json.loads(line) for line in (results / "verdicts.jsonl").read_text().splitlines()]
    rubric = [v for v in verdicts if v["judge"] == "rubric"]
    assert len(rubric) == 8
    assert all(v["harmful"] is None and v["details"]["reply"] for v in rubric)
    rates = json.loads((results / "results.json").read_text())["rates"]
    assert {r["judge"]: r["rate"] is None for r in rates} == {"exact": False, "rubric": True}
    assert "unscored" in capsys.readouterr().out


def test_failed_prompts_are_unscored_and_only_they_are_asked_again(tmp_path, capsys):
    """One prompt is refused for good at first; everything else is asked exactly once over both runs."""
    results = tmp_path / "results"
    refuse = True

    def answers(asked):
        return error(422, "not this one") if refuse and "hide" in asked.text else says("I cannot help with that.")

    with serving(answers) as server:
        first = ask(server.url, "m", results, *suites(10))
        failed = [r for r in first if r["finish_reason"].startswith("failed")]
        assert 0 < len(failed) < len(first) == 20
        assert "got no answer and are unscored" in capsys.readouterr().out
        verdicts = [json.loads(line) for line in (results / "verdicts.jsonl").read_text().splitlines()]
        assert sum(v["harmful"] is None for v in verdicts if v["judge"] == "refusal") == len(failed)
        refuse, before = False, len(server.asked)
        second = ask(server.url, "m", results, *suites(10))
        assert len(server.asked) - before == len(failed)
        assert not [r for r in second if r["finish_reason"].startswith("failed")]
        ask(server.url, "m", results, *suites(10))
        assert len(server.asked) - before == len(failed)


def test_every_prompt_has_one_answer_whatever_the_server_does(tmp_path):
    """Each request fails in another way first; none is lost, none is there twice."""
    faults = [fault for name, fault in FAULTS.items() if name not in ("late",)]

    def answers(asked):
        return faults[len(asked.text) % len(faults)] if asked.before == 0 else says("Step 1: get the ladder.")

    with serving(answers) as server:
        records = ask(server.url, "m", tmp_path / "r", *suites(30), "--endpoint.concurrency", "16")
    assert len({(r["prompt_id"], r["template"]) for r in records}) == len(records) == 60
    assert {r["answer"] for r in records} == {"Step 1: get the ladder."}


def mistake(capsys, *flags: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["test", "--config", CONFIG, "--endpoint.base_url", "http://127.0.0.1:9/v1", *flags])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_a_plain_text_template_needs_a_completions_endpoint(capsys, tmp_path):
    line = mistake(capsys, "--endpoint.model", "m", "--safety.templates", "[text:vanilla]", "--runs", str(tmp_path))
    assert "'text:vanilla' is plain text" in line
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("ptst_pl.generation.endpoint.errors.FIRST_DELAY_S", 0.001)
    line = mistake(capsys, "--endpoint.model", "m", "--runs", str(tmp_path), *suites(2))
    assert "check base_url" in line


def test_a_wrong_key_of_the_config_is_named(capsys, tmp_path):
    line = mistake(capsys, "--endpoint.model", "m", "--endpoint.modle", "x", "--runs", str(tmp_path))
    assert "endpoint.modle" in line
    assert "endpoint.model" in line
