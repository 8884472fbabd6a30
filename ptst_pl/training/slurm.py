"""What SLURM tells a process about itself, and the two things that are asked of it: requeue, and who still runs."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.results.runs import versions

log = logging.getLogger(__name__)
INTERACTIVE = ("bash", "interactive")  # job names of a shell on a node, in which Lightning takes SLURM for absent


def step_name() -> str | None:
    """``<job>.<step>`` of a process that srun started, the same after a requeue; None for any other process."""
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    return f"{job}.{step}" if job and step else None


def manages_tasks() -> bool:
    """Whether the tasks of this SLURM job are the processes of the training, and not one shell or torchrun."""
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_NTASKS" not in os.environ:
        return False
    return os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE or int(os.environ["SLURM_NTASKS"]) > 1


def job_name() -> str:
    """The job as ``scontrol`` takes it: one task of a job array, or a plain job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def requeue() -> bool:
    """Put this job back into the queue; SLURM then ends its processes. False, with the reason logged, if refused."""
    status, _, error = _ask("scontrol", "requeue", job_name())
    if status:
        log.error("SLURM did not requeue job %s: %s; was it submitted with --requeue?", job_name(), error or status)
    else:
        log.warning("requeued SLURM job %s", job_name())
    return status == 0


def seconds_left() -> int | None:
    """Seconds to the job's time limit; None where SLURM does not say."""
    status, left, _ = _ask("squeue", "--noheader", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%L")
    days, _, clock = left.rpartition("-")
    parts = clock.split(":")
    if status or not all(part.isdigit() for part in parts):
        return None
    seconds = 86400 * int(days or 0)
    for unit, part in zip((1, 60, 3600), reversed(parts), strict=False):
        seconds += unit * int(part)
    return seconds


# ---- whose run folder it is -----------------------------------------------------------------


def own_folder(home: Path) -> Path | None:
    """The run folder that this job step had below ``home`` before its job was requeued; None in its first life."""
    own = step_name()
    if own is None or not int(os.environ.get("SLURM_RESTART_COUNT", 0)):
        return None
    return next((folder for folder in reversed(versions(home)) if _mark(folder, own).exists()), None)


def claim(folder: Path) -> None:
    """Note in a run folder that this job step writes there.

    The note comes before the look at others' notes, so that of two jobs that start at the same
    moment at most one goes on.

    Raises:
        InputError: another job step that has not ended writes there, or will when its job starts again.
    """
    own = step_name()
    mark = _mark(folder, own) if own else None
    if mark:
        mark.touch()
    for other in [path for path in folder.glob(_mark(folder, "*").name) if path != mark]:
        name = other.name.removeprefix("slurm-").removesuffix(".step")
        if is_alive(name):
            if mark:
                mark.unlink()
            raise InputError(
                f"{folder} belongs to SLURM job step {name}, which has not ended: "
                "wait for it or cancel it, or give this run another --name"
            )
        other.unlink(missing_ok=True)


def _mark(folder: Path, step: str) -> Path:
    return folder / f"slurm-{step}.step"


def is_alive(step: str) -> bool:
    """A requeued job waits in the queue: it is as alive as a running one."""
    job = step.partition(".")[0]
    same = job == os.environ.get("SLURM_JOB_ID")
    status, found, error = _ask("squeue", "--noheader", f"--steps={step}" if same else f"--jobs={job}")
    if not status:
        return bool(found)
    return status != _NOT_HERE and "Invalid job" not in error  # in doubt it is alive


_NOT_HERE = 127


def _ask(*words: str) -> tuple[int, str, str]:
    """Exit status, output and error text of one of SLURM's programs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return _NOT_HERE, "", f"{words[0]} is not on PATH"
    except subprocess.TimeoutExpired:
        return 1, "", f"{words[0]} gave no answer in a minute"
    return done.returncode, done.stdout.strip(), done.stderr.strip()
