"""Ctrl-C and kill -9 lose nothing: ``--ckpt_path last`` ends where an uninterrupted run ends."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from training_fixtures import Started, World, assert_same, curve, lines, load, weights

from ptst_pl.training.callbacks import AtomicCheckpointIO

STEPS = 24
OPTIONS = (
    *("--trainer.max_epochs", "8", "--trainer.accumulate_grad_batches", "2"),
    *("--model.lora.dropout", "0.1", "--model.schedule", "linear"),
    *("--safety.active", "true", "--safety.every_n_steps", "4", "--checkpoint_every_n_steps", "3"),
)
ASR = "asr/refusal-judge/fruit"


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    return world.fit("whole", *OPTIONS)


def assert_equals(run: Path, whole: Path):
    """Everything that a reader of the run's folder can see."""
    assert_same(weights(run), weights(whole))
    assert curve(run, "train/loss") == curve(whole, "train/loss")
    for name in ("generations.jsonl", "verdicts.jsonl"):
        assert lines(run / "safety" / name) == lines(whole / "safety" / name)
    rates = json.loads((run / "safety/results.json").read_text())
    assert rates == json.loads((whole / "safety/results.json").read_text())
    assert sorted({rate["step"] for rate in rates["rates"]}) == [0, 4, 8, 12, 16, 20, 24]
    points = curve(run / "train=text-vanilla/test=text-vanilla", ASR)
    assert points == curve(whole / "train=text-vanilla/test=text-vanilla", ASR)
    assert [step for step, _ in points] == [0, 4, 8, 12, 16, 20, 24]


def assert_readable(folder: Path):
    """Every file of every version parses, whatever moment the process died at."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".tmp":
            continue  # hidden, and removed when the run goes on
        if path.suffix == ".ckpt":
            assert load(path)["global_step"] >= 0
        elif path.suffix == ".jsonl":
            lines(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            yaml.safe_load(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as adapter:
                assert list(adapter.keys())
        elif path.name.startswith("events"):
            curve(path.parent, "train/loss")
        else:
            assert path.name == "README.md"


def start(world: World, name: str) -> Started:
    return world.start("fit", "--name", name, *OPTIONS, "--ckpt_path", "last")


def test_ctrl_c_saves_and_the_same_command_goes_on(world: World, whole: Path):
    folder = world.folder / "runs" / "ctrl-c"
    started = start(world, "ctrl-c")
    started.wait_until(lambda: list(folder.glob("version_0/last.ckpt")))
    os.kill(started.process.pid, signal.SIGINT)
    stopped = started.wait()
    assert stopped.status != 0
    assert "Traceback" not in stopped.err
    assert "with a checkpoint" in stopped.err
    step = load(folder / "version_0/last.ckpt")["global_step"]
    assert 3 <= step < STEPS
    start(world, "ctrl-c").wait().ok()
    assert [path.name for path in folder.iterdir()] == ["version_0"]
    assert_equals(folder / "version_0", whole)


def test_kills_at_any_moment(world: World, whole: Path):
    """Killed again and again until one attempt comes through; then nothing can be seen of it."""
    folder = world.folder / "runs" / "killed"
    chance, kills = random.Random(1), 0
    while kills < 7:
        started = start(world, "killed")
        time.sleep(chance.uniform(0.1, 0.6))
        if started.process.exitcode is not None:
            break
        os.kill(started.process.pid, signal.SIGKILL)
        started.process.join()
        kills += 1
        assert_readable(folder)
    start(world, "killed").wait().ok()
    run = world.newest("killed")
    assert_equals(run, whole)
    assert kills >= 2
    assert not list(folder.rglob(".*.tmp")) or run != folder / "version_0"


def test_resuming_a_finished_run_changes_nothing(world: World, whole: Path):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.suffix in (".ckpt", ".json", ".jsonl")}
    again = world.run("fit", "--name", "whole", *OPTIONS, "--ckpt_path", "last")
    assert "refusal-judge" in again.out
    assert {path: path.read_bytes() for path in before} == before
    assert_equals(whole, whole)


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Killed in the middle of writing: the old file stands, and what was written is not at its place."""
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, tmp_path / "last.ckpt")

    def half(checkpoint, handle):
        assert Path(handle.name).parent == tmp_path  # the same file system, so that the move is atomic
        handle.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"global_step": 2}, tmp_path / "last.ckpt")
    assert load(tmp_path / "last.ckpt") == {"global_step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_leftovers_of_a_kill_are_removed(world: World):
    run = world.fit("leftovers", "--trainer.max_steps", "1")
    left = (run / ".step-000002.ckpt.77.tmp", run / "safety/.results.json.77.tmp", run / ".adapter.77.new.tmp/x")
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    world.run("fit", "--name", "leftovers", "--trainer.max_steps", "2", "--ckpt_path", "last")
    assert not list(run.rglob(".*"))
