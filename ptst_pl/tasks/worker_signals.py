"""Signals in a loader's worker process: it ends when the training does, and not before."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals_to_training(worker: int) -> None:
    """For ``DataLoader(worker_init_fn=...)``.

    Ctrl-C and SLURM signal every process of a run. PyTorch's workers end at once then, and the training,
    which is about to finish its step and to save, dies of the missing batch. SIGTERM from the parent is
    obeyed: a parent that dies of an error ends its workers with it, and waits for them.
    """
    for name in ("SIGINT", "SIGUSR1"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
