"""The checkpoints of a run folder: ``step-<n>.ckpt``, files or folders, and ``last.ckpt``, the newest one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ptst_pl.results.disk.durable import put, remove, sync

LAST = "last.ckpt"


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a run, each once: ``last.ckpt``, then by age.

    By age and not by number: a run that went back to an older step leaves higher numbers behind.
    """
    last = folder / LAST
    steps = sorted(folder.glob("step-*.ckpt"), key=_age, reverse=True)
    if not last.exists():
        return [last, *steps] if last.is_symlink() else steps
    return [last, *(step for step in steps if not step.samefile(last))]


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def point_last(target: Path) -> None:
    """Make ``last.ckpt`` beside ``target`` another name of it: a link, swapped in one move."""
    last = target.with_name(LAST)
    temporary = last.with_name(f".{LAST}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    if target.is_dir():
        temporary.symlink_to(target.name)
    else:
        try:
            os.link(target, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(target, temporary)
            sync(temporary)
    os.replace(temporary, last)
    temporary.unlink(missing_ok=True)  # a rename between two names of one file does nothing
    sync(last.parent)


def place(temporary: Path, target: Path) -> None:
    """Give a written checkpoint its name; from here on it is the last one."""
    put(temporary, target)
    point_last(target)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints; -1 keeps all."""
    steps = sorted(folder.glob("step-*.ckpt"), key=_age)
    for old in steps[:-keep] if keep > 0 else []:
        remove(old)


def adopt(checkpoint: Path) -> None:
    """A run goes on from this checkpoint of its own: it is the last one now, and what is newer a future given up.

    Otherwise a kill before the next checkpoint would bring that future back, without its safety curve.
    """
    real = checkpoint.resolve()
    if any(_age(step) > _age(real) for step in real.parent.glob("step-*.ckpt") if not step.samefile(real)):
        os.utime(real)
    last = checkpoint.with_name(LAST)
    if real.parent == last.parent.resolve() and not (last.exists() and last.samefile(real)):
        point_last(real)


def sweep(folder: Path) -> None:
    """Remove what a killed process was writing when it died."""
    for left in [*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")]:
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
