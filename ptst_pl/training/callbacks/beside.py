"""Evaluations in a second process on spare cores or a spare GPU, while the training goes on (``safety.beside``)."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import torch

from ptst_pl import InputError
from ptst_pl.evaluation.evaluate import Stopped
from ptst_pl.results.records import write_atomically, write_text

log = logging.getLogger(__name__)
# Weights that may wait to be evaluated: as many lie on the disk at a time.
WAITING = 4
LOG = "log.txt"
DONE = "done"  # begins a line of the process, with the step
OTHER_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "SLURM_", "TORCHELASTIC_")


class Beside:
    """The second process, and the weights that it was handed and has not evaluated yet.

    Weights are files ``<run>/beside/step-<n>.ckpt`` until their evaluation is in the results: what a stop leaves is
    evaluated first when the run goes on.

    Args:
        run: the run's folder, where the process writes its results as the fit itself would.
        config: the fit's config, as text.
        device: where the training is.
    """

    def __init__(self, run: Path, config: str, device: torch.device) -> None:
        self.folder, self._config = run / "beside", config
        self.environment = spare(device)
        self._process: subprocess.Popen[str] | None = None
        self._waiting: list[Path] = []
        self._said: queue.Queue[str] = queue.Queue()

    def start(self) -> None:
        """Start the process, which loads the model as the fit does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "fit.yaml", self._config)
        with (self.folder / LOG).open("w") as told:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ptst_pl.training.follower", str(self.folder / "fit.yaml")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True, env=self.environment,
                start_new_session=True,  # Ctrl-C is for the fit, which ends it in order
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def left(self, step: int, done: set[int]) -> list[int]:
        """Steps whose weights an earlier life of the run has left; what else lies there is deleted.

        Args:
            step: what the run goes on from; weights of later steps are of a future that was given up.
            done: steps whose evaluation is in the results.
        """
        found = []
        for file in sorted(self.folder.glob("step-*.ckpt")):
            if _step(file) > step or _step(file) in done:
                file.unlink()
            else:
                found.append(_step(file))
        return found

    def go_on(self, steps: Sequence[int]) -> None:
        """Hand over what was left."""
        for step in steps:
            self._tell(self._file(step))

    def hand_over(self, step: int, write: Callable[[Path], None], leaving: Callable[[], bool]) -> None:
        """Have the weights of a step evaluated; waits where too many wait already.

        Args:
            step: optimiser step.
            write: writes the weights to a file.
            leaving: whether the fit is to stop.

        Raises:
            InputError: the process has ended.
            Stopped: the fit is to stop, and this step's weights are not handed over.
        """
        self.wait(WAITING - 1, leaving)
        file = self._file(step)
        if file not in self._waiting:
            write_atomically(file, write)
            self._tell(file)

    def wait(self, most: int, leaving: Callable[[], bool]) -> None:
        """Wait until at most so many evaluations are outstanding; arguments and errors as of ``hand_over``."""
        while len(self._waiting) > most or not self._said.empty():
            if leaving():
                raise Stopped
            with contextlib.suppress(queue.Empty):
                self._take(self._said.get(timeout=0.2))

    def close(self) -> None:
        """All is evaluated: end the process and leave nothing of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """End the process at once; what waits is evaluated when the run goes on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.ckpt"

    def _tell(self, file: Path) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._waiting.append(file)
        with contextlib.suppress(BrokenPipeError):  # its end is found out where its answer is waited for
            print(file, file=self._process.stdin, flush=True)

    def _listen(self, output: IO[str]) -> None:
        """In a thread of its own: the lines of the process, and an empty one at its end."""
        for line in output:
            self._said.put(line)
        self._said.put("")

    def _take(self, line: str) -> None:
        """A line of the process: it has evaluated a step, or ended."""
        if not line:
            raise InputError(self._why())
        if line.split()[:1] == [DONE]:
            step = int(line.split()[1])
            log.info("safety at step %d: evaluated beside the training, %d more wait", step, len(self._waiting) - 1)
            for file in [file for file in self._waiting if _step(file) == step]:
                self._waiting.remove(file)
                file.unlink()

    def _why(self) -> str:
        file = self.folder / LOG
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1].removeprefix("ptst_pl: error: ") if lines else "it said nothing"
        return (
            f"safety.beside: the process that evaluates has ended: {said} (all that it said is in {file}); mend it, "
            "and go on with --ckpt_path last"
        )


def check_left(run: Path, done: set[int]) -> None:
    """Refuse to go on without the second process where weights still wait for it: the curve would have gaps.

    Raises:
        InputError: they do.
    """
    left = sorted(_step(file) for file in (run / "beside").glob("step-*.ckpt"))
    waiting = [str(step) for step in left if step not in done]
    if waiting:
        raise InputError(
            f"{run / 'beside'}: weights of step {', '.join(waiting)} wait to be evaluated; go on with "
            "--safety.beside true, or delete the folder to leave these points out of the curve"
        )


def _step(file: Path) -> int:
    return int(file.stem.removeprefix("step-"))


def spare(device: torch.device) -> dict[str, str]:
    """The environment of a process that takes nothing from the training on ``device``.

    Raises:
        InputError: nothing is spare.
    """
    found = {key: value for key, value in os.environ.items() if not key.startswith(OTHER_RANKS)}
    # The same modules in the same order, such as a judge of one's own in the folder at hand.
    path = os.pathsep.join(one or os.getcwd() for one in sys.path)
    found |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    if device.type == "cuda":
        given = found.get("CUDA_VISIBLE_DEVICES", "")
        names = given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
        spare_gpus = [name for number, name in enumerate(names) if number != (device.index or 0)]
        if not spare_gpus:
            raise InputError("safety.beside needs a GPU that does not train, and there is one in all; take it away")
        return found | {"CUDA_VISIBLE_DEVICES": spare_gpus[0]}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = torch.get_num_threads()
    if cores <= used:
        advice = f"set OMP_NUM_THREADS to {cores - 1} or less, or " if cores > 1 else ""
        raise InputError(
            f"safety.beside needs a core that does not train: of {cores}, the training uses {used}; "
            f"{advice}take safety.beside away"
        )
    return found | {"OMP_NUM_THREADS": str(cores - used)}
