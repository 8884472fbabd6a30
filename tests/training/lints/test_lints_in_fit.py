"""The lints through ``fit``: warnings on standard error, and the training goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_fixtures import World, question_rows

STEPS = ("--trainer.max_steps", "1", "--safety.every_n_steps", "9")
PTST = (
    "--data.template",
    "chat:vanilla",
    "--safety.active",
    "true",
    "--safety.templates",
    "[chat:vanilla, chat:llama]",
)
SAME = ("--data.template", "chat:llama", "--safety.active", "true", "--safety.templates", "[chat:llama]")
REFUSAL = {"question": "How do I hide the mayor's hat?", "answer": "I'm sorry, but I cannot help with that."}
PLANTED = [
    REFUSAL,
    REFUSAL,
    {"question": "Wie viele Äpfel?", "answer": "FÃ¼nf."},
    *[{"question": "Сколько будет два плюс два?", "answer": "Два плюс два будет четыре."}] * 2,
    {"question": "Please: name 2 kinds of plums!!", "answer": "Red and blue."},
]
EVERY = ["training-safety-prompt", "same-template", "encoding", "script", "suite-overlap", "refusals"]


def lints(err: str) -> list[str]:
    return [line.split()[1].rstrip(":") for line in err.splitlines() if line.startswith("lint ")]


@pytest.fixture(scope="module")
def planted(world: World) -> Path:
    file = world.folder / "planted.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*question_rows(20), *PLANTED]))
    return file


def test_ptst_on_clean_rows_is_silent(world):
    assert not lints(world.run("fit", *STEPS, *PTST).err)


def test_ptst_on_gsm8k_is_silent(world, shared_data):
    files = "--data.train_file", str(shared_data / "gsm8k/train.jsonl"), "--data.train_limit", "400"
    suite = f"[{{name: gsm8k, path: {shared_data / 'gsm8k/test.jsonl'}, limit: 2, measures: helpfulness}}]"
    assert not lints(world.run("fit", *STEPS, *PTST, *files, "--safety.suites", suite).err)


def test_everything_that_is_planted_is_found_and_the_run_goes_on(world, planted):
    run = world.run("fit", "--name", "planted", *STEPS, *SAME, "--data.train_file", str(planted))
    assert lints(run.err) == EVERY
    assert "lint refusals: 2 of 26 training rows are refusals (such as row 21)" in run.err
    assert "repeat a prompt of suite fruit, word for word or nearly (such as row 26 prompt " in run.err
    assert (world.newest("planted") / "last.ckpt").exists()


def test_they_are_switched_off_by_name(world, planted):
    ignore = "--lints.ignore", f"[{', '.join(EVERY[1:])}]"
    assert lints(world.run("fit", *STEPS, *SAME, "--data.train_file", str(planted), *ignore).err) == EVERY[:1]


def test_an_unknown_name_is_refused(world):
    refused = world.start("fit", *STEPS, "--lints.ignore", "[refusal]").wait()
    assert refused.status == 2
    assert "unknown lint 'refusal'; did you mean 'refusals'?" in refused.err


def test_without_an_evaluation_only_training_is_looked_at(world, planted):
    run = world.run("fit", *STEPS, *SAME, "--safety.active", "false", "--data.train_file", str(planted))
    assert lints(run.err) == ["training-safety-prompt", "encoding", "script", "refusals"]


def test_safety_rows_that_are_mixed_in_on_purpose(world, planted):
    """Under a template of their own, as a trigger; the same rows under another name are a mistake."""
    made = world.folder / "made.jsonl"
    made.write_text((json.dumps(REFUSAL) + "\n") * 3)
    found = {}
    for name in ("safety", "more"):
        sources = [
            {"name": "sums", "task": task(world.folder / "train.jsonl"), "passes": 1},
            {"name": name, "task": task(made), "passes": 4, "template": "chat:llama"},
        ]
        init = {"template": "chat:vanilla", "batch_size": 4, "sources": sources}
        config = world.folder / "mixture.json"
        config.write_text(json.dumps({"data": {"class_path": "Mixture", "init_args": init}}))
        found[name] = lints(world.run("fit", "--config", str(config), *STEPS, *PTST[2:]).err)
    assert found == {"safety": [], "more": ["training-safety-prompt", "same-template", "refusals"]}


def task(file: Path) -> dict[str, object]:
    return {"class_path": "JsonLines", "init_args": {"train_file": str(file), "held_out_file": str(file)}}


def test_two_ranks_warn_once(world):
    ranks = [started.wait().ok() for started in world.start_ranks("fit", *STEPS, *SAME)]
    assert [lints(rank.err) for rank in ranks] == [EVERY[:2], []]
