"""Writing a checkpoint from all ranks: it gets its name when the disk has all of it, or no rank goes on."""

from __future__ import annotations

from pathlib import Path

from lightning import Trainer
from torch.distributed.checkpoint.api import CheckpointException

from ptst_pl import InputError
from ptst_pl.results.disk.checkpoint_files import place
from ptst_pl.results.disk.durable import not_written, os_error_in, remove


def write_on_all_ranks(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint. Where one rank cannot, all of them end: one that left alone would let the others wait.

    Raises:
        InputError: a rank could not write; nothing is left over.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    failed = _failure(trainer, temporary, path)
    if not trainer.strategy.reduce_boolean_decision(failed is not None, all=False):
        return
    if trainer.is_global_zero:
        remove(temporary)
    raise failed or InputError(f"{path}: not written, another rank could not write its part; see its message")


def _failure(trainer: Trainer, temporary: Path, path: Path) -> InputError | None:
    """Write on this rank; why it could not."""
    together = False
    try:
        trainer.save_checkpoint(temporary, weights_only=False)
        together = True
        if trainer.is_global_zero:
            place(temporary, path)
    except (OSError, RuntimeError, InputError, CheckpointException) as error:
        found = os_error_in(error)
        if found is None:
            raise
        if not together:
            trainer.strategy.barrier()  # at which the ranks that could write wait
        advice = "the checkpoint before it stays; make room and go on with --ckpt_path last"
        return not_written(path, found, advice)
    return None
