"""Ctrl-C, SIGTERM and their like in the middle of an evaluation: it is left at once, and a resumed run repeats it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from killing import assert_nothing_to_see
from signaller import looks, signalled
from training_fixtures import PROMPTS, Run, World, lines, load

OPTIONS = (
    *("--trainer.accumulate_grad_batches", "2", "--model.lora.dropout", "0.1", "--safety.active", "true"),
    *("--safety.every_n_steps", "2", "--safety.decoding.max_new_tokens", "12", "--trainer.limit_val_batches", "1.0"),
    *("--safety.templates", "[text:vanilla, chat:llama]", "--data.init_args.batch_size", "2"),
)


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    return world.fit("whole", *OPTIONS)


def steps_of(run: Path) -> list[int]:
    return sorted({record["step"] for record in json.loads((run / "safety/results.json").read_text())["rates"]})


def assert_stopped_at(ended: Run, run: Path, step: int, done: list[int], status: int = 1) -> None:
    """With a checkpoint of the step, and without anything of its evaluation."""
    assert ended.status == status, ended.err[-2000:]
    assert f"stopped during the evaluation at step {step}; a resumed run repeats it first" in ended.err
    assert "Traceback" not in ended.err
    assert load(run / "last.ckpt")["global_step"] == step
    assert steps_of(run) == done
    for name in ("generations.jsonl", "verdicts.jsonl"):
        assert sorted({row["step"] for row in lines(run / "safety" / name)}) == done
    assert not (run / "adapter").exists()


# Of 12 steps, 6 an epoch: between two steps; at an epoch's end; behind the last step, once due there and once not.
@pytest.mark.parametrize(
    ("step", "done", "more"),
    [
        (4, [0, 2], ()),
        (6, [0, 2, 4], ()),
        (12, [0, 2, 4, 6, 8, 10], ()),
        (12, [0, 5, 10], ("--safety.every_n_steps", "5")),
    ],
    ids=["between", "epoch", "last, due", "last, not due"],
)
def test_ctrl_c_leaves_an_evaluation_and_a_resumed_run_repeats_it(
    world: World, whole: Path, tmp_path, step, done, more
):
    name = f"left-{tmp_path.name}"
    reference = world.fit(f"whole-{name}", *OPTIONS, *more) if more else whole
    stopped = world.start("fit", "--name", name, *OPTIONS, *more, *signalled(step, 3, signal.SIGINT, tmp_path / "log"))
    ended, run = stopped.wait(), world.newest(name)
    assert_stopped_at(ended, run, step, done)
    assert looks(tmp_path / "log", step) == 3 < looks(tmp_path / "log", 0)
    again = world.run("fit", "--name", name, *OPTIONS, *more, "--ckpt_path", "last")
    assert "stopped during" not in again.err
    assert world.newest(name) == run
    assert_nothing_to_see(run, reference, "val/loss")


@pytest.mark.parametrize("backend", ["hf", "continuous"])
def test_other_backends_are_left_too(world: World, tmp_path, backend):
    """At the end of a batch, or of an answer."""
    options = ("--name", f"left-{backend}", *OPTIONS, "--safety.decoding.backend", backend)
    stopped = world.start("fit", *options, *signalled(2, 2, signal.SIGINT, tmp_path / "log"))
    assert_stopped_at(stopped.wait(), world.newest(f"left-{backend}"), 2, [0])
    assert looks(tmp_path / "log", 2) == 2 < looks(tmp_path / "log", 0)


def test_sigterm_leaves_it_too(world: World, tmp_path):
    stopped = world.start("fit", "--name", "term", *OPTIONS, *signalled(4, 3, signal.SIGTERM, tmp_path / "log"))
    assert_stopped_at(stopped.wait(), world.newest("term"), 4, [0, 2], 128 + signal.SIGTERM)


def test_a_second_ctrl_c_stops_at_once(world: World):
    """The first one goes to a judge, which is not left before it is through."""
    judges = [{"class_path": "signaller.SignallingJudge", "init_args": {"step": 4, "times": 2}}]
    stopped = world.start("fit", "--name", "twice", *OPTIONS, "--safety.judges", json.dumps(judges)).wait()
    assert stopped.status == 1
    assert "press Ctrl-C again" in stopped.err
    assert "stopped during" not in stopped.err
    assert "Traceback" not in stopped.err
    assert not (world.newest("twice") / "last.ckpt").exists()


def test_between_two_judges(world: World, tmp_path):
    """Their verdicts are thrown away with the answers; the judge behind the signal is not asked."""
    judges = [
        {"class_path": "signaller.SignallingJudge", "init_args": {"step": 4}},
        {"class_path": "signaller.WrittenJudge", "init_args": {"target": str(tmp_path / "asked")}},
    ]
    stopped = world.start("fit", "--name", "judged", *OPTIONS, "--safety.judges", json.dumps(judges)).wait()
    assert_stopped_at(stopped, world.newest("judged"), 4, [0, 2])
    assert set((tmp_path / "asked").read_text().split()) == {"0", "2"}


@pytest.fixture(scope="module")
def whole_of_two(world: World) -> Path:
    return world.fit_ranks("whole-2", *OPTIONS, "--data.init_args.batch_size", "1")


@pytest.mark.parametrize(("step", "done"), [(4, [0, 2]), (12, [0, 5, 10])], ids=["between", "last, not due"])
def test_two_ranks_leave_together_when_one_is_asked(world: World, whole_of_two: Path, tmp_path, step, done):
    """The other rank finishes its share of the answers; nobody waits for anybody."""
    name, every = f"left-2-{step}", ("--safety.every_n_steps", "2" if step == 4 else "5")
    options = ("--name", name, *OPTIONS, *every, "--data.init_args.batch_size", "1")
    ranks = world.start_ranks("fit", *options, *signalled(step, 3, signal.SIGINT, tmp_path / "log", rank=1))
    ended = [rank.wait(60) for rank in ranks]
    run = world.newest(name)
    assert_stopped_at(ended[0], run, step, done)
    assert ended[1].status == 1
    assert "Traceback" not in ended[1].err
    assert looks(tmp_path / "log", step, rank=1) == 3 < looks(tmp_path / "log", step)
    if step == 4:
        for rank in world.start_ranks("fit", *options, "--ckpt_path", "last"):
            rank.wait().ok()
        assert_nothing_to_see(run, whole_of_two, "val/loss")


def test_ctrl_c_in_test_is_prompt_and_repeats_no_answer(world: World, whole: Path, tmp_path):
    options = ("--name", "whole", *OPTIONS, "--ckpt_path", "last", "--results", str(tmp_path / "results"))
    one_by_one = ("--safety.decoding.backend", "hf", "--safety.decoding.batch_size", "1")
    stopped = world.start("test", *options, *one_by_one, *signalled(12, 4, signal.SIGINT, tmp_path / "log")).wait()
    assert stopped.status == 1
    assert "Traceback" not in stopped.err
    assert looks(tmp_path / "log", 12) == 4
    # The fourth answer was made and not yet taken.
    kept = [line for path in (tmp_path / "results").glob("answers-*") for line in lines(path)[1:]]
    assert sum(len(line["answers"]) for line in kept) == 3
    world.run("test", *options, *one_by_one, *signalled(0, 0, signal.SIGINT, tmp_path / "again"))
    assert looks(tmp_path / "again", 12) == 2 * PROMPTS - 3
    assert len(lines(tmp_path / "results/generations.jsonl")) == 2 * PROMPTS
