"""Names for what is on the disk: nothing gets its name before the disk has all of it.

A rename alone survives a kill but not a power cut: the name may reach the disk before the content,
and an empty or half file then stands where the old one was. So: content, ``fsync``, rename, and
``fsync`` of the folder that holds the name.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ptst_pl import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems cannot do it for folders
            raise
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """The same for everything in a folder, and for the folder; or for a file."""
    for inner in path.iterdir() if path.is_dir() and not path.is_symlink() else ():
        sync_tree(inner)
    sync(path)


def put(temporary: Path, target: Path) -> None:
    """Move a written file or folder to its place, durably; what was there is replaced.

    A file takes a file's place in one move. With folders there is none: the old one goes first.
    """
    sync_tree(temporary)
    if target.is_dir() or (temporary.is_dir() and target.exists()):
        remove(target)
    os.replace(temporary, target)
    sync(target.parent)


def remove(path: Path) -> None:
    """Remove a file or folder. A kill halfway leaves a folder under a hidden ``.tmp`` name, never half of it."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
        shutil.rmtree(aside)
    else:
        path.unlink(missing_ok=True)


def os_error_in(error: BaseException | None) -> OSError | None:
    """The system's error behind a writer's own, if there is one; torch's hides a full disk in a ``RuntimeError``."""
    return next((found for found in _chain(error) if isinstance(found, OSError)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        # torch.distributed.checkpoint: {rank: (error, traceback)}
        for failed, *_ in getattr(error, "failures", {}).values():
            yield from _chain(failed)
        error = error.__cause__ or error.__context__


def not_written(path: Path, error: OSError, then: str) -> InputError:
    """One line for a write that failed: what, why, how much room there is, what to do."""
    free = shutil.disk_usage(path.parent).free // 2**20
    return InputError(f"{path}: not written, {error.strerror or error} ({free} MiB free in {path.parent}); {then}")
