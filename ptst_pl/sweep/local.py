"""Runs as processes of this machine, each in a session of its own, so that only the sweep passes Ctrl-C on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ptst_pl import InputError
from ptst_pl.sweep.folders import START, RunFolder
from ptst_pl.sweep.locks import Holder


class Local:
    """Starts processes and ends them.

    Args:
        places: one entry per run at a time: its GPUs as in CUDA_VISIBLE_DEVICES, or None to leave that as it is.
    """

    name = "local"

    def __init__(self, places: Sequence[str | None]) -> None:
        self.jobs = len(places)
        self._places = list(places)
        self._running: dict[str, tuple[subprocess.Popen[bytes], str | None]] = {}
        self._adopted: dict[str, Holder] = {}

    def start(self, name: str, folder: RunFolder) -> str:
        """Start a run; returns the process's number."""
        place = self._free()
        own = {} if place is None else {"CUDA_VISIBLE_DEVICES": place}
        threads = max(1, len(os.sched_getaffinity(0)) // self.jobs)
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = min(threads, int(given)) if given.isdigit() and int(given) else threads
        with folder.log.open("ab") as log:
            log.write(f"{START}{datetime.now():%Y-%m-%d %H:%M:%S} ---\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "ptst_pl.sweep.start", str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), **own},
                start_new_session=True,
            )
        self._running[name] = process, place
        return str(process.pid)

    def _free(self) -> str | None:
        taken = [place for _, place in self._running.values()] + [held.devices for held in self._adopted.values()]
        return next((place for place in self._places if place is None or place not in taken), self._places[0])

    def adopt(self, name: str, held: Holder) -> None:
        """A run that an earlier sweep started and that still goes on."""
        self._adopted[name] = held

    def ended(self, name: str, held: Holder | None) -> str | None:
        """How a run ended, in words, empty for a good end; None while it goes on."""
        if name in self._adopted:
            if held is None:
                del self._adopted[name]
            return "" if held is None else None
        process, _ = self._running[name]
        status = process.poll()
        if status is None:
            return None
        del self._running[name]
        return status_in_words(status)

    def stop(self, at_once: bool = False) -> list[str]:
        """Pass Ctrl-C on, once: fits save and stop. ``at_once`` kills them, with their ranks."""
        for process, _ in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                if at_once:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                else:
                    process.send_signal(signal.SIGINT)
        for held in self._adopted.values():
            if held.pid and held.host == socket.gethostname():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(held.pid, signal.SIGKILL if at_once else signal.SIGINT)
        return []

    def refresh(self) -> None:
        """Nothing to ask anybody."""


def status_in_words(status: int) -> str:
    """An exit status for people; empty for 0."""
    if status >= 0:
        return f"exit status {status}" if status else ""
    return f"killed by {signal.Signals(-status).name}"


def places(trainers: Sequence[Mapping[str, Any]], jobs: int | None) -> list[str | None]:
    """A place for each run at a time: on a machine with GPUs their numbers, as many as a run asks for.

    Args:
        trainers: the ``trainer`` sections of the runs.
        jobs: how many at a time; None for as many as there are GPUs for, or one on processors.

    Raises:
        InputError: more runs at a time than GPUs for them.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"sweep: --jobs is {jobs}, expected a number above 0")
    devices = _visible() if any(str(one["accelerator"]) in ("auto", "gpu", "cuda") for one in trainers) else []
    if not devices:
        return [None] * (jobs or 1)
    wanted = {str(one["devices"]) for one in trainers}
    if any(not text.isdigit() for text in wanted):
        if any(text not in ("auto", "-1") for text in wanted) and jobs not in (None, 1):
            raise InputError("sweep: trainer.devices names GPUs, so runs would share them; give their number instead")
        share = len(devices) // (jobs or 1)
    else:
        share = max(map(int, wanted))
    most = len(devices) // share if share else 0
    if (jobs or 1) > most:
        raise InputError(
            f"sweep: {jobs or 1} runs at a time with {max(1, share)} GPUs each, but {len(devices)} are here"
        )
    if (jobs is None and share == len(devices)) or most == 1:
        return [None]
    return [",".join(devices[n * share : (n + 1) * share]) for n in range(jobs or most)]


def _visible() -> list[str]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return given[:count] or [str(number) for number in range(count)]
