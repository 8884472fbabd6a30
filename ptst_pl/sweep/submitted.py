"""Runs as jobs of submitit: of SLURM, or, to try the way there, of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError, did_you_mean
from ptst_pl.sweep.folders import RunFolder
from ptst_pl.sweep.job import FitJob
from ptst_pl.sweep.locks import Holder

ASK_EVERY = 5.0  # seconds between two questions to SLURM
REQUEUES = 100  # times that a job may meet its time limit; each time it goes on from its checkpoint
DAY = 24 * 60


class Submitted:
    """Submits jobs and watches them.

    Args:
        folder: for submitit's own files.
        name: ``slurm`` or ``local-submitit``.
        jobs: most at a time; None for all, as SLURM has its own queue, or one on this machine.
        settings: ``key=value`` of SLURM's jobs, by submitit's names.

    Raises:
        InputError: submitit is not installed, SLURM is not here, or it knows no such setting.
    """

    def __init__(self, folder: Path, name: str, jobs: int | None, settings: Sequence[str] = ()) -> None:
        if jobs is not None and jobs < 1:
            raise InputError(f"sweep: --jobs is {jobs}, expected a number above 0")
        self.name, self.folder = name, folder
        self.jobs = jobs or (10**6 if name == "slurm" else 1)
        self._ids: dict[str, str] = {}
        self._adopted: set[str] = set()
        self._queue: set[str] | None = None
        self._asked = -ASK_EVERY
        self._settings = _settings(settings)
        self._executor = self._make_executor()

    def _make_executor(self) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise InputError(
                f"sweep: --launcher {self.name} needs submitit: pip install 'ptst_pl[sweep]' or pip install submitit"
            ) from error
        if self.name == "local-submitit":
            executor: Any = submitit.LocalExecutor(self.folder, max_num_timeout=REQUEUES)
            executor.update_parameters(timeout_min=7 * DAY)
            return executor
        try:
            executor = submitit.SlurmExecutor(self.folder, max_num_timeout=REQUEUES)
        except RuntimeError as error:
            raise InputError("sweep: --launcher slurm: no srun on PATH; run it where sbatch works") from error
        known = sorted(executor._valid_parameters())
        for key in self._settings:
            if key not in known:
                raise InputError(f"sweep: --slurm {key}: unknown{did_you_mean(key, known)} (known: {', '.join(known)})")
        executor.update_parameters(**{"job_name": "ptst-sweep", "time": DAY, **self._settings})
        return executor

    def start(self, name: str, folder: RunFolder) -> str:
        """Submit a run; returns the job's number.

        Raises:
            InputError: SLURM does not take it.
        """
        import submitit

        try:
            with _ignoring_ctrl_c():
                job = self._executor.submit(FitJob(str(folder.path.resolve()), os.getcwd()))
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError) as error:
            raise InputError(f"sweep: {name} was not submitted: {' '.join(str(error).split())}") from error
        self._ids[name] = str(job.job_id)
        self._asked = -ASK_EVERY
        return self._ids[name]

    def take_up(self, name: str, number: str) -> bool:
        """Watch a job that an earlier sweep submitted; False if it has ended."""
        self.refresh()
        if not self._lives(number):
            return False
        self._ids[name] = number
        return True

    def adopt(self, name: str, held: Holder) -> None:
        """A run whose lock a process holds that is no job of this sweep."""
        self._ids.pop(name, None)
        self._adopted.add(name)

    def ended(self, name: str, held: Holder | None) -> str | None:
        """How a run ended, empty for a good end; None while it goes on or waits in the queue."""
        if held is not None:
            return None
        if name in self._adopted:
            self._adopted.discard(name)
            return ""
        number = self._ids[name]
        if self._lives(number):
            return None
        del self._ids[name]
        return f"job {number} ended before the run did; see {self.folder}/{number}_*"

    def refresh(self) -> None:
        """Ask SLURM for this user's jobs, all at once and not too often."""
        if self.name != "slurm" or time.monotonic() - self._asked < ASK_EVERY:
            return
        self._asked = time.monotonic()
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            words = ("squeue", "--me", "--noheader", "--format=%A")
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            # Without an answer everything goes on: what was known stays known.
            self._queue = set(done.stdout.split()) if done.returncode == 0 else self._queue

    def _lives(self, number: str) -> bool:
        if self.name == "slurm":
            return self._queue is None or number in self._queue
        if any(self.folder.glob(f"{number}_*_result.pkl")):
            return False
        return _is_submitit(int(number))

    def stop(self, at_once: bool = False) -> list[str]:
        """Jobs go on without the sweep; how to end them."""
        if not self._ids:
            return []
        program = "scancel" if self.name == "slurm" else "kill"
        numbers = " ".join(self._ids.values())
        return [f"{len(self._ids)} jobs go on; the same command watches them again; to end them: {program} {numbers}"]


def _settings(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"sweep: --slurm {word}: expected key=value, such as partition=gpu")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"sweep: --slurm {word}: the value is no YAML") from error
    return found


def _is_submitit(number: int) -> bool:
    """Whether the process is submitit's controller and not another one that has its number by now."""
    done = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(number)], capture_output=True, text=True)
    state, _, words = done.stdout.strip().partition(" ")
    return "submitit" in words and not state.startswith("Z")


@contextlib.contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Processes started here do not get the terminal's Ctrl-C: jobs outlive the sweep."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
