"""What a fit does in a SLURM job, with SLURM's variables set and its programs played by a script.

The same on a real SLURM: tests/slurm, run by ``make test-slurm``.
"""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from signaller import looks, signalled
from training_fixtures import Started, World, assert_same, curve, lines, load, weights

OPTIONS = (
    *("--trainer.max_epochs", "20", "--trainer.accumulate_grad_batches", "4", "--model.lora.dropout", "0.1"),
    *("--safety.active", "true", "--safety.every_n_steps", "10", "--data.init_args.workers", "1"),
)
STEPS = 40  # 6 batches an epoch, the last window of which is shorter
# Answers as SLURM does: notes what is asked, and knows jobs 7 and 8 as running.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$0 $*" in
  *scontrol*) exit {refused} ;;
  *"--format=%L"*) echo {left} ;;
  *--jobs=7*|*--jobs=8*|*--steps=7.*) echo "running" ;;
  *) echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1 ;;
esac
"""


class Slurm:
    """A folder of programs for PATH, and what was asked of them."""

    def __init__(self, folder: Path, refused: int = 0, left: str = "1:30") -> None:
        self.folder, self.log = folder, folder / "asked"
        for name in ("scontrol", "squeue", "srun"):
            path = folder / name
            path.write_text(PROGRAM.format(log=self.log, refused=refused, left=left))
            path.chmod(0o755)

    def variables(self, job: int = 7, step: int = 0, tasks: int = 1, rank: int = 0, **more: str) -> dict[str, str]:
        own = {"JOB_ID": job, "STEP_ID": step, "NTASKS": tasks, "PROCID": rank, "LOCALID": rank, "NODEID": 0}
        own |= {"NNODES": 1, "JOB_NAME": "ptst", "NODELIST": "127.0.0.1"}
        path = f"{self.folder}:{os.environ['PATH']}"
        return {f"SLURM_{name}": str(value) for name, value in own.items()} | {"PATH": path, "RANK": str(rank)} | more

    def requeued(self) -> list[str]:
        asked = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in asked if line.startswith("scontrol")]


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    return world.fit("whole", *OPTIONS)


def fit(world: World, name: str, environment: dict[str, str], *more: str) -> Started:
    return world.start("fit", "--name", name, *OPTIONS, *more, environment=environment)


def wait_for_steps(world: World, started: Started, name: str) -> None:
    """Until training is under way: the second evaluation is written."""
    started.wait_until(lambda: len(list((world.folder / "runs" / name).glob("version_*/safety/results.json"))))
    started.wait_until(lambda: len(steps_of(world.newest(name))) >= 2)


def steps_of(run: Path) -> set[int]:
    return {record["step"] for record in lines(run / "safety/generations.jsonl")}


def workers_of(started: Started) -> list[int]:
    """The loader's worker processes."""
    pid = started.process.pid
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert found
    return found


def stop_and_go_on(world: World, name: str, slurm: Slurm, **more: str) -> Path:
    """SIGUSR1 in the middle, then the requeued job: one folder, and nothing to be seen of it."""
    started = fit(world, name, slurm.variables(**more))
    wait_for_steps(world, started, name)
    os.kill(started.process.pid, signal.SIGUSR1)
    stopped = started.wait()
    assert stopped.status == 0, stopped.err
    assert "Traceback" not in stopped.err
    assert load(world.newest(name) / "last.ckpt")["global_step"] < STEPS
    again = fit(world, name, slurm.variables(**more, SLURM_RESTART_COUNT="1")).wait().ok()
    assert "going on with its own run" in again.err + again.out
    return world.newest(name)


def test_a_requeued_job_ends_where_an_uninterrupted_one_does(world: World, whole: Path, slurm: Slurm):
    run = stop_and_go_on(world, "limit", slurm)
    assert slurm.requeued() == ["scontrol requeue 7"]
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert not list(run.parent.rglob("hpc_ckpt*"))  # Lightning's own, saved in mid-step
    assert_same(weights(run), weights(whole))
    assert curve(run, "train/loss") == curve(whole, "train/loss")
    for name in ("generations.jsonl", "verdicts.jsonl"):
        assert lines(run / "safety" / name) == lines(whole / "safety" / name)


def test_the_signal_in_an_evaluation_leaves_it_for_the_requeued_job(world: World, whole: Path, slurm: Slurm):
    stopped = fit(world, "leaves", slurm.variables(), *signalled(10, 2, signal.SIGUSR1, slurm.log)).wait()
    assert stopped.status == 0
    assert "stopped during the evaluation at step 10; a resumed run repeats it first" in stopped.err
    assert slurm.requeued() == ["scontrol requeue 7"]
    assert looks(slurm.log, 10) == 2 < looks(slurm.log, 0)
    assert load(world.newest("leaves") / "last.ckpt")["global_step"] == 10
    assert steps_of(world.newest("leaves")) == {0}
    fit(world, "leaves", slurm.variables(SLURM_RESTART_COUNT="1")).wait().ok()
    assert_same(weights(world.newest("leaves")), weights(whole))
    assert lines(world.newest("leaves") / "safety/verdicts.jsonl") == lines(whole / "safety/verdicts.jsonl")


def test_an_evaluation_before_the_first_step_of_a_life_is_not_left(world: World, slurm: Slurm):
    """A job whose time is too short for it would begin it again in every life."""
    options = ("--trainer.max_steps", "1", *signalled(0, 2, signal.SIGUSR1, slurm.log))
    ended = fit(world, "first", slurm.variables(), *options).wait()
    assert "stopped during" not in ended.err
    assert steps_of(world.newest("first")) == {0, 1}


def test_a_task_of_an_array_is_requeued_alone(world: World, whole: Path, slurm: Slurm):
    started = fit(world, "array", slurm.variables(SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="2"))
    wait_for_steps(world, started, "array")
    os.kill(started.process.pid, signal.SIGUSR1)
    assert started.wait().status == 0
    assert slurm.requeued() == ["scontrol requeue 5_2"]


def test_a_signal_at_the_last_step_lets_the_run_end(world: World, slurm: Slurm):
    """A finished run is never trained again: it would come back without its model and its last point."""
    started = fit(world, "end", slurm.variables(), "--trainer.max_steps", "1")
    started.wait_until(lambda: "parameters" in started.err)
    os.kill(started.process.pid, signal.SIGUSR1)
    assert started.wait().status == 0
    run = world.newest("end")
    assert (run / "adapter").is_dir()
    assert steps_of(run) == {0, 1}
    assert slurm.requeued() == []


def test_a_refused_requeue_is_a_failure(world: World, tmp_path: Path):
    started = fit(world, "refused", Slurm(tmp_path, refused=1).variables())
    wait_for_steps(world, started, "refused")
    os.kill(started.process.pid, signal.SIGUSR1)
    ended = started.wait()
    assert ended.status == 1
    assert "SLURM did not requeue job 7" in ended.err
    assert (world.newest("refused") / "last.ckpt").exists()


@pytest.mark.parametrize("in_slurm", [True, False])
def test_sigterm_saves_and_is_no_requeue(world: World, slurm: Slurm, in_slurm: bool):
    name = f"term-{in_slurm}"
    started = fit(world, name, slurm.variables() if in_slurm else {})
    wait_for_steps(world, started, name)
    for process in (*workers_of(started), started.process.pid):  # SLURM signals all of them
        os.kill(process, signal.SIGTERM)
    ended = started.wait()
    assert ended.status == 128 + signal.SIGTERM
    assert "Traceback" not in ended.err
    assert slurm.requeued() == []
    assert 0 < load(world.newest(name) / "last.ckpt")["global_step"] < STEPS


def test_the_signal_of_one_rank_stops_both_and_requeues_once(world: World, slurm: Slurm):
    """Only rank 1 gets it here; on SLURM both do, at moments that differ."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [
        fit(world, "two", slurm.variables(tasks=2, rank=rank, MASTER_PORT=port), "--trainer.devices", "2")
        for rank in range(2)
    ]
    wait_for_steps(world, ranks[0], "two")
    os.kill(ranks[1].process.pid, signal.SIGUSR1)
    for rank in ranks:
        ended = rank.wait()
        assert ended.status == 0, ended.err
        assert "Traceback" not in ended.err
    assert slurm.requeued() == ["scontrol requeue 7"]


def test_a_requeued_job_ignores_the_newer_run_of_another_job(world: World, slurm: Slurm):
    """Two jobs of one name; the checkpoint to go on from is that of the job's own step."""
    end = ("--trainer.max_steps", "2")
    first = slurm.variables(job=7)
    fit(world, "same-name", first, *end).wait().ok()
    for job, step in ((8, 0), (7, 1)):
        fit(world, "same-name", slurm.variables(job=job, step=step), *end).wait().ok()
    folders = [world.folder / "runs/same-name" / f"version_{k}" for k in range(3)]
    assert sorted(world.newest("same-name").parent.iterdir()) == folders
    again = fit(world, "same-name", first | {"SLURM_RESTART_COUNT": "1"}, "--trainer.max_steps", "3")
    again.wait().ok()
    assert [load(folder / "last.ckpt")["global_step"] for folder in folders] == [3, 2, 2]


def test_last_does_not_go_on_in_the_folder_of_a_living_job(world: World, slurm: Slurm):
    end = ("--trainer.max_steps", "2", "--ckpt_path", "last")
    fit(world, "living", slurm.variables(job=7), *end).wait().ok()
    refused = fit(world, "living", slurm.variables(job=9), *end).wait()
    assert refused.status == 2
    assert "belongs to SLURM job step 7.0, which has not ended" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err


def test_last_goes_on_with_the_run_of_a_job_that_ended(world: World, slurm: Slurm):
    fit(world, "ended", slurm.variables(job=3), "--trainer.max_steps", "2").wait().ok()
    fit(world, "ended", slurm.variables(job=9), "--trainer.max_steps", "3", "--ckpt_path", "last").wait().ok()
    assert load(world.newest("ended") / "last.ckpt")["global_step"] == 3
    assert world.newest("ended").name == "version_0"


@pytest.mark.parametrize("devices", ["1", "3", "auto", "[0]"])
def test_tasks_that_are_not_the_devices_are_refused(world: World, slurm: Slurm, devices: str):
    """Two tasks with one device would be two trainings in one folder."""
    for rank in range(2):
        refused = fit(world, "mismatch", slurm.variables(tasks=2, rank=rank), "--trainer.devices", devices).wait()
        assert refused.status == 2
        assert "SLURM started 2 processes, but trainer.devices x trainer.num_nodes is" in refused.err.splitlines()[-1]
    assert not (world.folder / "runs/mismatch").exists()


def test_torchrun_with_other_devices_is_refused(world: World):
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "WORLD_SIZE": "2"}
    refused = fit(world, "torchrun", group | {"LOCAL_RANK": "1", "RANK": "1"}).wait()
    assert refused.status == 2
    assert "torchrun started 2 processes, but trainer.devices x trainer.num_nodes is 1 x 1" in refused.err


def test_a_batch_script_without_srun_is_refused(world: World, slurm: Slurm):
    variables = slurm.variables(tasks=2)
    del variables["SLURM_STEP_ID"]
    refused = fit(world, "no-srun", variables, "--trainer.devices", "2").wait()
    assert refused.status == 2
    assert "put srun in front" in refused.err.splitlines()[-1]


def test_a_step_without_end_is_requeued_before_the_limit(world: World, tmp_path: Path):
    """A step, or an evaluation, that takes longer than the time that is left."""
    slurm = Slurm(tmp_path, left="0:16")  # a second more than the margin
    started = fit(world, "long", slurm.variables(), "--checkpoint_every_n_steps", "1")
    wait_for_steps(world, started, "long")
    workers = workers_of(started)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    time.sleep(2)  # what was prefetched is used up, and no batch comes any more
    os.kill(started.process.pid, signal.SIGUSR1)
    try:
        started.wait_until(slurm.requeued, 20)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    ended = started.wait()
    assert ended.status == 0
    assert "no end of the step in sight" in ended.err
    assert slurm.requeued() == ["scontrol requeue 7"]
