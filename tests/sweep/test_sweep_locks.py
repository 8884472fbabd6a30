"""Locks: one holder at a time, none left behind, and what is done where the file system knows none."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from ptst_pl import InputError
from ptst_pl.sweep import locks
from ptst_pl.sweep.locks import Holder, holder, take

CODE = "import sys, time; from pathlib import Path; from ptst_pl.sweep.locks import take\n"
HOLD = CODE + "take(Path(sys.argv[1]), 'no'); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds."""
    path = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield path, process
        process.kill()


def test_a_lock_ends_with_its_process(held):
    path, process = held
    assert holder(path) == Holder(process.pid, socket.gethostname())
    with pytest.raises(InputError, match=f"^taken by process {process.pid} on "):
        take(path, "taken by {holder}")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert holder(path) is None
    os.close(take(path, "taken"))


def test_a_program_that_the_process_turns_into_holds_it_too(tmp_path):
    path = tmp_path / "run.lock"
    code = CODE + "import os; take(Path(sys.argv[1]), 'no', inherit=True); os.execvp('sleep', ['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as process:
        while not path.exists() or holder(path) is None:
            assert process.poll() is None
        while (
            "sleep"
            not in subprocess.run(["ps", "-o", "comm=", "-p", str(process.pid)], capture_output=True, text=True).stdout
        ):
            assert process.poll() is None
        assert holder(path).pid == process.pid
        process.kill()


def test_without_locks_of_the_file_system_the_noted_process_decides(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    path = tmp_path / "run.lock"
    for pid, host, free in ((os.getppid(), None, False), (os.getppid(), "elsewhere", False), (2**22 + 1, None, True)):
        path.write_text(json.dumps({"pid": pid, "host": host or socket.gethostname(), "devices": ""}))
        assert (holder(path) is None) == free
    os.close(take(path, "taken"))
    assert json.loads(path.read_text())["pid"] == os.getpid()
