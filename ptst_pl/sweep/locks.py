"""Locks that die with their process: of a sweep's folder, and of a run's folder while a fit writes there.

The kernel keeps them (``flock``), so that one left behind by ``kill -9`` is no lock. A run's lock goes over to the
fit when the process turns into it, and is held by the fit also when the sweep that started it is gone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from ptst_pl import InputError

log = logging.getLogger(__name__)
_WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # file systems that know no locks


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    devices: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def take(path: Path, refusal: str, seconds: float = 0, devices: str = "", inherit: bool = False) -> int:
    """Take a lock and note in its file who holds it.

    Args:
        path: the lock's file; it stays behind, unlocked.
        refusal: what to say, with ``{holder}`` and ``{path}``, where another process has it.
        seconds: how long to wait for it.
        devices: the GPUs of the holder, as in CUDA_VISIBLE_DEVICES.
        inherit: whether a program that this process turns into goes on holding it.

    Returns:
        The open file; the lock ends with the last process that has it.

    Raises:
        InputError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + seconds
    while not _lock(handle, path, fcntl.LOCK_EX):
        if time.monotonic() >= end:
            os.close(handle)
            raise InputError(refusal.format(holder=_read(path) or "another process", path=path))
        time.sleep(0.1)
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "devices": devices}).encode(), 0)
    os.set_inheritable(handle, inherit)
    return handle


def holder(path: Path) -> Holder | None:
    """Who holds a lock; None if it is free."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _lock(handle, path, fcntl.LOCK_SH):
            return None
        return _read(path) or Holder(0, "an unknown machine")
    finally:
        os.close(handle)


def _lock(handle: int, path: Path, kind: int) -> bool:
    """Whether the lock could be had. Without locks of the file system, what the file says decides."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT:
            raise
        return not _may_live(_read(path))
    return True


def _may_live(noted: Holder | None) -> bool:
    if noted is None or (noted.pid, noted.host) == (os.getpid(), socket.gethostname()):
        return False
    if noted.host != socket.gethostname():
        log.warning("no locks on this file system: if %s has ended, delete its lock file", noted)
        return True
    try:
        os.kill(noted.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> Holder | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(found["pid"]), str(found["host"]), str(found["devices"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not yet written
