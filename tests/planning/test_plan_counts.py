"""A plan's counts are those of the fit that follows: parameters, tokens, steps, answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNS = {
    "lora": ["--trainer.accumulate_grad_batches", "2", "--data.max_length", "90"],
    "full": ["--model.method", "full", "--trainer.max_steps", "8", "--data.template", "chat:llama"],
}


@pytest.fixture(scope="session")
def probed(world):
    """Runs a fit and returns what was counted in it."""
    shutil.copy(HERE / "probes.py", world.folder / "plan_probes.py")

    def run(name, *options):
        output = world.folder / f"{name}-counted.json"
        probe = [{"class_path": "plan_probes.CountBatches", "init_args": {"output": str(output)}}]
        world.fit(f"counted-{name}", "--trainer.callbacks", json.dumps(probe), *options)
        return json.loads(output.read_text())

    return run


@pytest.mark.parametrize("name", RUNS)
def test_counts_are_those_of_the_fit(planned, probed, name):
    plan, seen = planned(*RUNS[name]), probed(name, *RUNS[name])
    assert plan["model"]["parameters"] == seen["parameters"]
    assert plan["model"]["trainable"] == seen["trainable"]
    data = plan["data"]
    assert data["epoch_rows"] == seen["rows"] == 22
    assert data["batches_per_device"] == seen["batches"]
    assert data["supervised"] == seen["supervised"]
    assert data["computed"][plan["model"]["batching"]] == seen["computed"]
    assert data["tokens"] == (seen["tokens"] or data["tokens"])
    assert plan["steps"]["total"] == seen["steps"]
    assert data["exact"]
    assert seen["gradients_before_a_step"] == 0  # which is what the plan's memory counts on


def test_what_is_cut_is_counted(planned):
    whole, cut = planned()["data"], planned("--data.max_length", "60")["data"]
    assert whole["cut"] == whole["dropped"] == 0
    assert cut["cut"] > 0
    assert cut["tokens"] < whole["tokens"]


def test_evaluations_are_those_of_the_curve(world, planned):
    flags = ["--safety.active", "true", "--safety.templates", "[text:vanilla, chat:llama]", "--trainer.max_steps", "5"]
    found = planned(*flags)["evaluations"]
    run = world.fit("plan-evaluations", *flags)
    stored = [json.loads(line) for line in (run / "safety/generations.jsonl").read_text().splitlines()]
    steps = {row["step"] for row in stored}
    assert steps == {0, 2, 4, 5}
    assert found["evaluations"] == len(steps)
    assert found["answers"] * len(steps) == len(stored)
    assert found["new_tokens"] == found["answers"] * 4
    assert (found["backend"], found["at_once"], found["steps_per_device"]) == ("engine", 10, 4)  # all at once
    found = planned(*flags, "--safety.decoding.backend", "hf")["evaluations"]
    assert (found["backend"], found["at_once"], found["steps_per_device"]) == ("hf", 4, 16)  # fives in fours, twice


def test_a_shared_prefix_is_counted_once(planned):
    data = planned("--data.template", "chat:llama")["data"]
    assert data["computed"]["packed"] == data["tokens"]
    assert data["computed"]["prefix"] < 0.5 * data["tokens"]
    assert data["computed"]["padded"] > data["tokens"]


def test_limits_and_devices(planned):
    limited = planned("--trainer.limit_train_batches", "2")
    assert (limited["data"]["epoch_rows"], limited["steps"]["total"]) == (8, 4)
    spread = planned("--trainer.devices", "2", "--trainer.accelerator", "gpu", "--trainer.num_nodes", "2")
    assert spread["model"]["devices"] == 4
    assert spread["model"]["sharing"] == "ddp"
    assert (spread["data"]["epoch_rows"], spread["data"]["batches_per_device"]) == (22, 2)
    assert spread["data"]["tokens"] == planned()["data"]["tokens"]


def test_a_mixture_counts_each_source(world, planned):
    file = {"train_file": str(world.folder / "train.jsonl"), "held_out_file": str(world.folder / "held_out.jsonl")}
    sources = [
        {"task": {"class_path": "JsonLines", "init_args": file}, "name": "one", "passes": 2},
        {
            "task": {"class_path": "JsonLines", "init_args": file},
            "name": "two",
            "passes": 0.5,
            "template": "chat:llama",
        },
    ]
    (world.folder / "mixture.yaml").write_text(
        json.dumps({"data": {"class_path": "Mixture", "init_args": {"template": "text:vanilla", "sources": sources}}})
    )
    flags = ["--config", str(world.folder / "mixture.yaml"), "--data.batch_size", "4"]
    data = planned(*flags)["data"]
    assert data["rows_by_source"] == {"one": 44, "two": 11}
    assert data["epoch_rows"] == 55
    part = planned(*flags, "--sample", "22")["data"]
    assert not part["exact"]
    assert (part["rows_encoded"], part["rows_read"], part["epoch_rows"]) == (22, 44, 56)
    assert part["tokens"] == pytest.approx(data["tokens"], rel=0.25)


def test_a_sample_says_that_it_is_one(world, planned):
    whole, part = planned()["data"], planned("--sample", "11")["data"]
    assert not part["exact"]
    assert (part["rows_encoded"], part["rows_read"], part["epoch_rows"]) == (11, 22, 22)
    assert part["tokens"] == pytest.approx(whole["tokens"], rel=0.25)
    assert part["tokens"] != whole["tokens"]
    assert "estimated from 11 of 22 rows" in world.run("plan", "--sample", "11").out


def test_nothing_is_left_behind(world, planned):
    planned("--name", "only-planned")
    assert not (world.folder / "runs/only-planned").exists()
