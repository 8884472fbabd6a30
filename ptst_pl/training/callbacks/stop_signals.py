"""SIGTERM and SLURM's SIGUSR1: a stop between two optimiser steps, with a checkpoint; then a requeue."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ptst_pl.results.runs import LAST
from ptst_pl.training import slurm
from ptst_pl.training.callbacks.checkpoints import Checkpoints
from ptst_pl.training.callbacks.folder import run_folder

log = logging.getLogger(__name__)
MARGIN = 15  # seconds before the time limit at which a job that has not stopped is requeued as it is


class StopSignals(Callback):
    """Ends a fit on a signal as the first Ctrl-C does, whatever rank gets it, and at whatever moment.

    Lightning's own handlers are not used. On SIGUSR1 they save inside the signal handler, in the
    middle of a step, and lose accumulated gradients; on SIGTERM they start a collective call inside
    the handler, which meets another one of the step and hangs.

    * SIGUSR1 in a SLURM job (``sbatch --signal=SIGUSR1@90 --requeue``): a checkpoint, then
      ``scontrol requeue``; the exit status is 0, or 1 where SLURM refuses. If a judge or a long step
      leaves no time, the job is requeued all the same and goes on from its last checkpoint, provided
      that it has written one in this life. An evaluation is left for it, and comes first in the next
      life: not one before the first step of this life, or a job could repeat that one for ever.
    * SIGTERM (``scancel``, preemption, torchrun): a checkpoint; the exit status is 143.

    Args:
        checkpoints: stops and saves.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.status: int | None = None
        self._requeue = self._terminate = self._training = False
        self._requeued = threading.Event()
        self._previous: dict[signal.Signals, Any] = {}
        self._process, self._started = os.getpid(), time.time()
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen from before the model is loaded: SIGUSR1 would end the process."""
        if stage != "fit" or threading.current_thread() is not threading.main_thread():
            return
        self._trainer = trainer
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        # Asks all ranks for rank 0's SIGTERM at every micro-batch, and waits for the device each time.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._on_terminate)
        if "SLURM_JOB_ID" in os.environ:
            self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._on_time_limit)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """From here on there is something to save."""
        self._training = True

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        if not self._training:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not self._requeue:  # what a requeue ends the processes with
            log.warning("SIGTERM: stopping after this step, with a checkpoint")
            self._terminate = True
            self.checkpoints.ask_to_stop()

    def _on_time_limit(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process or self._requeue:
            return
        log.warning("SIGUSR1: stopping after this step, with a checkpoint, to be requeued")
        self._requeue = True
        self.checkpoints.ask_to_stop(leaving=self._training)
        assert self._trainer is not None
        if self._trainer.is_global_zero:
            threading.Thread(target=self._requeue_in_time, args=(self._trainer,), daemon=True).start()

    def _requeue_in_time(self, trainer: Trainer) -> None:
        """A job that runs into its limit would not come back."""
        left = slurm.seconds_left()
        if left is None or self._requeued.wait(max(0, left - MARGIN)):
            return
        last = run_folder(trainer) / LAST
        if last.exists() and last.stat().st_mtime > self._started:
            log.warning("no end of the step in sight: requeueing to go on from the last checkpoint")
            self._ask_for_requeue()
        else:
            log.error(
                "SLURM's time limit comes before the first checkpoint: not requeued, as it would happen again; "
                "lower checkpoint_every_n_steps, or ask for more time with --time and --signal"
            )

    def _ask_for_requeue(self) -> bool:
        self._requeued.set()
        return slurm.requeue()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After the checkpoint of an orderly stop, on every rank; the process ends then."""
        if not (self.checkpoints.stopping and isinstance(exception, KeyboardInterrupt)):
            self.teardown(trainer, pl_module, "fit")
            return
        # The ranks may have stopped because of a signal that rank 0 has yet to see.
        if trainer.strategy.reduce_boolean_decision(self._requeue, all=False):
            done = self._requeued.is_set() or not trainer.is_global_zero or self._ask_for_requeue()
            self.status = 0 if done else 1
        elif trainer.strategy.reduce_boolean_decision(self._terminate, all=False):
            self.status = 128 + signal.SIGTERM

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
