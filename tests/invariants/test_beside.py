"""Evaluations in a second process give the files of those in the fit itself, whatever ends the fit on the way."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from killing import assert_nothing_to_see, kill_at
from training_fixtures import World, assert_same, curve, lines, run_child, weights

from ptst_pl import InputError
from ptst_pl.training.callbacks import beside

OPTIONS = (
    *("--trainer.accumulate_grad_batches", "2", "--model.lora.dropout", "0.1", "--safety.active", "true"),
    *("--safety.every_n_steps", "2", "--data.init_args.batch_size", "2", "--safety.templates", "[text:vanilla]"),
)
BESIDE = (*OPTIONS, "--safety.beside", "true")
SHIPPED = ("--model.method", "full", "--model.lora.dropout", "0", "--defence", '{"name": "ema", "decay": 0.5}')


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    return world.fit("inside", *OPTIONS)


def assert_same_results(run: Path, other: Path) -> None:
    for name in ("results.json", "generations.jsonl", "verdicts.jsonl"):
        assert (run / "safety" / name).read_bytes() == (other / "safety" / name).read_bytes(), name
    sub_run, tag = Path("train=text-vanilla/test=text-vanilla"), "asr/refusal-judge/fruit"
    assert len(curve(run / sub_run, tag)) == 7
    assert curve(run / sub_run, tag) == curve(other / sub_run, tag)


@pytest.mark.parametrize("more", [(), SHIPPED], ids=["lora", "weights that a defence ships"])
def test_the_same_weights_answers_and_curve(world: World, whole: Path, more):
    name = f"beside-{len(more)}"
    inside = world.fit(f"inside-{name}", *OPTIONS, *more) if more else whole
    ended = world.run("fit", "--name", name, *BESIDE, *more)
    run = world.newest(name)
    assert_same(weights(run), weights(inside))
    assert_same_results(run, inside)
    answers = [[row["answer"] for row in lines(run / "safety/generations.jsonl") if row["step"] == n] for n in (0, 12)]
    assert answers[0] != answers[1]
    assert "12" in ended.out  # the table of the last step
    assert not (run / "beside").exists()


def followers(run: Path) -> list[psutil.Process]:
    name = str(run / "beside" / "fit.yaml")
    return [process for process in psutil.process_iter() if name in _words(process)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for_no(run: Path) -> None:
    end = time.monotonic() + 20
    while followers(run):
        assert time.monotonic() < end, "the second process goes on without the fit"
        time.sleep(0.1)


def test_killed_with_weights_that_wait_and_resumed(world: World, whole: Path):
    name = "killed-beside"
    every = ("--checkpoint_every_n_steps", "2")
    assert kill_at(world, "last evaluation due", 1, "--name", name, *BESIDE, *every)
    run = world.newest(name)
    wait_for_no(run)
    waiting = sorted(file.name for file in (run / "beside").glob("step-*.ckpt"))
    assert waiting  # the process takes seconds to start, and the fit made its steps meanwhile
    refused = world.start("fit", "--name", name, *OPTIONS, *every, "--ckpt_path", "last").wait()
    assert refused.status == 2
    assert "wait to be evaluated; go on with --safety.beside true" in refused.err
    world.run("fit", "--name", name, *BESIDE, *every, "--ckpt_path", "last")
    assert world.newest(name) == run
    assert_same_results(run, whole)
    assert not (run / "beside").exists()


def test_ctrl_c_while_the_last_evaluations_are_waited_for(world: World, whole: Path):
    name = "left-beside"
    started = world.start("fit", "--name", name, *BESIDE)
    runs = world.folder / "runs" / name
    started.wait_until(lambda: list(runs.glob("*/beside/step-000012.ckpt")))
    os.kill(started.process.pid, signal.SIGINT)
    ended, run = started.wait(), world.newest(name)
    assert ended.status == 1
    assert "stopped during the evaluation at step 12; a resumed run repeats it first" in ended.err
    assert "Traceback" not in ended.err
    assert not followers(run)
    assert not (run / "adapter").exists()
    world.run("fit", "--name", name, *BESIDE, "--ckpt_path", "last")
    assert_same_results(run, whole)
    assert_nothing_to_see(run, whole)


def test_a_process_that_ends_is_one_line_with_its_reason(world: World):
    judges = json.dumps([{"class_path": "signaller.FailingJudge"}])
    ended = world.start("fit", "--name", "ended", *BESIDE, "--safety.judges", judges).wait()
    assert ended.status == 2
    last = ended.err.strip().splitlines()[-1]
    assert "safety.beside: the process that evaluates has ended: this judge never works (all that it said is in" in last
    assert "Traceback" not in ended.err
    assert not followers(world.newest("ended"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stop.monitor", "asr/refusal-judge/fruit/text:vanilla", "--stop.above", "0.5"), "known after its step"),
        (
            ("--trainer.devices", "2", "--trainer.strategy", "ddp"),
            "goes with one training process, and there are 2",
        ),
    ],
    ids=["stop", "two processes"],
)
def test_what_it_cannot_do_is_refused_before_a_model_is_loaded(world: World, options, said):
    if "ddp" in options:
        ended = world.start_ranks("fit", "--name", "refused", *BESIDE)[0].wait(60)
    else:
        ended = world.start("fit", "--name", "refused", *BESIDE, *options).wait()
    assert ended.status == 2
    assert said in ended.err
    assert "model" not in ended.err.partition(said)[0].splitlines()[0]


def on_one_core(*arguments) -> None:
    os.sched_getaffinity = lambda process: {0}
    run_child(*arguments)


def test_on_one_core_it_is_refused_before_anything_is_made(world: World):
    ended = world.start("fit", "--name", "one-core", *BESIDE, main=on_one_core).wait()
    assert ended.status == 2
    assert "of 1, the training uses 1; take safety.beside away" in ended.err
    assert not (world.folder / "runs/one-core").exists()


def test_without_a_spare_core_it_is_refused(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(InputError, match="of 2, the training uses 2; set OMP_NUM_THREADS to 1 or less, or take"):
        beside.Beside(Path("run"), "", torch.device("cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setenv("RANK", "0")
    made = beside.Beside(Path("run"), "", torch.device("cpu"))
    assert made.environment["OMP_NUM_THREADS"] == "1"
    assert "RANK" not in made.environment


def test_on_gpus_it_takes_one_that_does_not_train(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert beside.Beside(Path("run"), "", torch.device("cuda", 0)).environment["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert beside.Beside(Path("run"), "", torch.device("cuda", 1)).environment["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(InputError, match="needs a GPU that does not train"):
        beside.Beside(Path("run"), "", torch.device("cuda", 0))
