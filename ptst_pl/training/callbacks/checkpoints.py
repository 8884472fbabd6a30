"""Checkpoints that are whole or absent, a stop that loses nothing, and the model at the end."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning import __version__ as lightning_version
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from peft import PeftModel
from torch import Tensor

from ptst_pl.model import trainable
from ptst_pl.model.ranks import Vote, gather
from ptst_pl.model.sharding import is_sharded, whole_state
from ptst_pl.model.sharding.files import is_sharded_folder, read_checkpoint
from ptst_pl.results.disk.checkpoint_files import prune, sweep
from ptst_pl.results.disk.durable import sync
from ptst_pl.results.records import write_atomically
from ptst_pl.tokenization import save_tokenizer
from ptst_pl.training.callbacks.folder import run_folder
from ptst_pl.training.callbacks.run_identity import identity_of
from ptst_pl.training.callbacks.times import Clock
from ptst_pl.training.callbacks.writing import write_on_all_ranks
from ptst_pl.training.finetuner import FineTuner

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a kill or a power cut never leaves half a checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save to ``path``, whole or not at all."""
        write_atomically(Path(path), lambda temporary: _write(checkpoint, temporary))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """A file, or a folder that several ranks wrote, in the file's form."""
        if is_sharded_folder(Path(path)):
            return read_checkpoint(Path(path))
        return super().load_checkpoint(path, *args, **kwargs)


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as handle:  # given the path, torch would not say why a write failed
        torch.save(checkpoint, handle)


class Checkpoints(Checkpoint):
    """Saves ``step-<n>.ckpt`` every n optimiser steps and at the end; ``last.ckpt`` is the newest one.

    Lightning's own callback is not used because its ``last`` is a copy or a link that is missing
    for a moment, and because it does not save on Ctrl-C: here the first Ctrl-C ends the optimiser
    step, saves and stops; a second one stops at once. Checkpoints also hold every rank's random
    state, which Lightning's do not: without it dropout differs after a resume (pitfall G2).

    A checkpoint is written to a hidden temporary name, by all ranks where it is sharded, and gets its
    own name when the disk has all of it. It comes after all that belongs to its step: the safety
    evaluation, the held-out loss, the logs. So a run resumed from it has nothing to make up for.

    Args:
        every_n_steps: optimiser steps between checkpoints.
        keep: how many of the newest ``step-<n>.ckpt`` to keep; -1 keeps all. With 2 there is one to go
            back to when the disk has damaged the newest.
    """

    def __init__(self, every_n_steps: int = 100, keep: int = 2) -> None:
        self.every_n_steps, self.keep = every_n_steps, keep
        self.clock = Clock()
        self._saved_step = self._step = 0
        self._asked = self._leaving = self._stop = self._due = False
        self._previous: Any = None
        self.vote = Vote()
        self._random_state: dict[str, Tensor] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Resume by epochs also where ``max_steps`` ends the run.

        Lightning 2.6.6 otherwise takes an epoch's end for its middle there, runs an epoch without a
        batch, and from then on shuffles with another epoch's number.
        """
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        trainer.fit_loop.run = partial(_run_to_the_end, trainer.fit_loop, trainer.fit_loop.run)  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing to save yet at the step that training starts from; listen for Ctrl-C."""
        self._saved_step = self._step = trainer.global_step
        if trainer.is_global_zero:
            sweep(run_folder(trainer))
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_interrupt)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self.ask_to_stop()
        log.warning("stopping after this step, with a checkpoint; press Ctrl-C again to stop at once")

    def ask_to_stop(self, leaving: bool = True) -> None:
        """As the first Ctrl-C does; for signal handlers, at any moment, on any rank.

        Args:
            leaving: leave a safety evaluation that is going on, which a resumed run repeats.
        """
        self._asked, self._leaving = True, self._leaving or leaving

    def leaving(self) -> bool:
        """Whether this rank was asked to leave a safety evaluation."""
        return self._leaving

    def stop_at_end(self, trainer: Trainer) -> None:
        """Save and stop behind the last step, in place of the evaluation and the model that are still to come.

        Raises:
            KeyboardInterrupt: always, on all ranks.
        """
        self._stop = True
        if trainer.global_step != self._saved_step:
            self._save(trainer)
        raise KeyboardInterrupt

    @property
    def stopping(self) -> bool:
        """Whether the ranks have agreed to stop at this step."""
        return self._stop

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when due, between two optimiser steps only: gradients are not part of a checkpoint."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if not stepped or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # The ranks get the signal at different steps; they have to stop at the same one.
        self._stop = self.vote.any(self._asked)
        # A training that stops early: in mid-epoch only a checkpoint written now can be resumed exactly.
        self._due = self._stop or trainer.should_stop or trainer.global_step % self.every_n_steps == 0
        # An epoch's last step is saved at the epoch's end: a run resumed from a checkpoint written
        # here would count that epoch wrongly in its own checkpoints (Lightning 2.6.6). And a step with
        # a validation behind it: resumed from here, Lightning would skip that.
        if not (trainer.is_last_batch or _validates_now(trainer)):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the step that was just validated if it is due."""
        if not trainer.is_last_batch:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch's last step if it is due."""
        self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        due, self._due = self._due, False
        if due:
            self._save(trainer)
        # After the last step the end is as near as a stop, and only the end writes the model.
        if due and self._stop and not trainer.fit_loop.done:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The final state."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, FineTuner)
        if trainer.global_step != self._saved_step or pl_module.defence.keeps_weights:
            self._save(trainer)
        _sync_logs(trainer)  # of the last evaluation, which may come after the last checkpoint

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    # ---- random state -----------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Every rank's random state, and what the run is; Lightning calls this on all of them."""
        checkpoint["random_states"] = gather(_random_state(pl_module.device))
        checkpoint["identity"] = identity_of(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep this rank's state until training starts: building loaders and optimisers may draw from it."""
        states = checkpoint.get("random_states", [])
        if len(states) != trainer.world_size:
            log.warning("the checkpoint comes from %d processes: dropout will differ from its run", len(states))
            return
        self._random_state = states[trainer.global_rank]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Before the first step of a resumed run, go on with the checkpoint's random state."""
        state, self._random_state = self._random_state, None
        if state is not None:
            torch.set_rng_state(state["cpu"])
        if state is not None and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], pl_module.device)

    def _save(self, trainer: Trainer) -> None:
        self._saved_step = trainer.global_step
        _sync_logs(trainer)
        folder = run_folder(trainer)
        path = folder / f"step-{trainer.global_step:06d}.ckpt"
        with self.clock.during("other"):
            write_on_all_ranks(trainer, path)
        if trainer.is_global_zero:
            prune(folder, self.keep)


def write_weights(trainer: Trainer, path: Path) -> None:
    """A checkpoint to evaluate, not to go on from: the weights as they would be shipped now, and what the run is."""
    tuner = trainer.lightning_module
    assert isinstance(tuner, FineTuner)
    found: dict[str, Any] = {
        "pytorch-lightning_version": lightning_version,
        "global_step": trainer.global_step,
        "epoch": 0,
    }
    with tuner.defence.shipped(tuner.network):
        found["state_dict"] = tuner.state_dict()
        tuner.on_save_checkpoint(found)
        found |= {"identity": identity_of(trainer), "defence": {}}
        _write(found, path)


def _validates_now(trainer: Trainer) -> bool:
    """Whether a validation follows the batch that was just trained on."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    nothing = bool(loop.val_loop.max_batches) and loop.val_loop.skip  # known once it is set up
    return fetcher is not None and not nothing and loop._should_check_val_fx(fetcher)


def _sync_logs(trainer: Trainer) -> None:
    """What was logged up to this step is on the disk before the checkpoint is: a resumed run does not log it again."""
    for logger in trainer.loggers:
        logger.save()
    if trainer.is_global_zero:
        folder = run_folder(trainer)
        for path in [*folder.glob("events.*"), *folder.glob("test=*/events.*")]:
            sync(path)


def _run_to_the_end(loop: Any, run: Callable[[], None]) -> None:
    """Lightning's fit loop, also where the checkpoint is of the last step.

    Lightning 2.6.6 then calls no hook, so that after a kill between the last checkpoint and the end the
    last point of the safety curve and the saved model would never be made.
    """
    if loop.trainer.global_step == 0:
        return run()
    loop.setup_data()
    if not loop.done:
        return run()
    loop.on_run_start()
    loop.on_run_end()


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


class SaveModel(Callback):
    """At the end of training, the result in Hugging Face's own formats, in the run folder.

    LoRA gives ``adapter/`` for ``PeftModel.from_pretrained``; full fine-tuning gives ``model/``, with
    the tokenizer, for ``AutoModelForCausalLM.from_pretrained``.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a fresh folder beside the old one, then swap."""
        assert isinstance(pl_module, FineTuner)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        network = pl_module.network
        adapter = isinstance(network, PeftModel)
        names = list(trainable(network)) if adapter else list(network.state_dict())
        # All ranks together, where the weights are shared out over them.
        state = {"state_dict": whole_state(network, names, trainer.is_global_zero)} if is_sharded(network) else {}
        if not trainer.is_global_zero:
            return
        target = run_folder(trainer) / ("adapter" if adapter else "model")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        network.save_pretrained(str(temporary), **state)  # type: ignore[operator]
        if not adapter:
            save_tokenizer(trainer.datamodule.encoder.tokenizer, temporary)  # type: ignore[attr-defined]
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
