"""Encoded rows through a data loader that goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ptst_pl import InputError
from ptst_pl.tasks.order import EpochBatches
from ptst_pl.tasks.worker_signals import leave_signals_to_training
from ptst_pl.tokenization import Encoded


class Rows(Dataset[tuple[int, Encoded]]):
    """Encoded rows, each with its number."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Encoded]:
        return index, self.rows[index]


class ResumableLoader(DataLoader[Any]):
    """A loader that, restored in the middle of an epoch, goes on with the next batch.

    Lightning stores ``state_dict`` in every checkpoint; its own loader would start the epoch again
    with the rows that were already seen (pitfall G1).
    """

    def __init__(self, rows: Dataset[Any], batches: EpochBatches, **options: Any) -> None:
        super().__init__(rows, batch_sampler=batches, worker_init_fn=leave_signals_to_training, **options)
        self.batches = batches
        self.done = 0
        self._restored: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator: this runs at the first batch, after Lightning has set the epoch.
        self.done = self._resume_at()
        self.batches.skip = self.done
        batches = super().__iter__()
        # The next batch is made, and pinned, while the model works on this one.
        with ThreadPoolExecutor(1, "next-batch") as maker:
            ahead = maker.submit(next, batches, None)
            while (batch := ahead.result()) is not None:
                ahead = maker.submit(next, batches, None)
                self.done += 1
                yield batch

    def _resume_at(self) -> int:
        """The first batch to hand out: a finished epoch's successor starts at its beginning.

        An epoch can be finished before its last batch (``limit_train_batches``), so the epoch's
        number decides, not the number of batches.
        """
        state, self._restored = self._restored, None
        if state is None or state["epoch"] != self.batches.sampler.epoch:
            return 0
        return int(state["batches_done"]) % len(self.batches)

    def state_dict(self) -> dict[str, Any]:
        """Batches of this epoch that were handed out, and how they were cut."""
        return {
            "epoch": self.batches.sampler.epoch,
            "batches_done": self.done,
            "rows_per_batch": self.batches.rows_per_batch,
            "window": self.batches.window,
            "plan": self.batches.sampler.plan,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the stored batch.

        Raises:
            InputError: the batches or the epoch's rows are others now, so the position means nothing.
        """
        then = state["rows_per_batch"], state["window"]
        now = self.batches.rows_per_batch, self.batches.window
        if then != now:
            raise InputError(
                f"the checkpoint was written with {then[0]} rows per batch over all devices and {then[1]} batches "
                f"per optimiser step, now there are {now[0]} and {now[1]}; resume with the same numbers"
            )
        plan = self.batches.sampler.plan
        if state.get("plan", plan) != plan:
            raise InputError(
                f"the checkpoint was written with {_planned(state['plan'])}, now there are {_planned(plan)}; "
                "resume with the same rows"
            )
        self._restored = dict(state)


def _planned(plan: Sequence[Sequence[int]]) -> str:
    """``3600 of 600 + 100 of 100 rows an epoch``."""
    return " + ".join(f"{taken} of {rows}" for rows, taken in plan) + " rows an epoch"
