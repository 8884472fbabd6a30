"""Rows of a second task that a defence draws its own batches from: the same ones on every rank, chosen by the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ptst_pl import InputError
from ptst_pl.model.batch_paths import Path
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture_source import build_task
from ptst_pl.tasks.order import shuffled
from ptst_pl.tokenization import Encoded
from ptst_pl.tokenization.batches import Batch, PackRows, PadRight

_STREAM = 7  # has nothing to do with the order of the task's own rows


def second_task(spec: Any, where: str, task: Task, template: str | None = None) -> Task:
    """A task as a defence's argument names it: a class name, or ``class_path`` and ``init_args``.

    Args:
        spec: the argument.
        where: begins every message, such as ``defence lisa: guide``.
        task: the one that is trained on; what ``spec`` does not say is taken from it.
        template: of the rows; default the task's own.

    Raises:
        InputError: the argument is missing or names no task.
    """
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, dict) or "class_path" not in spec:
        raise InputError(f"{where} is {spec!r}, expected a task: a class name, or class_path and init_args")
    names = ("chat_format", "chat_options", "max_length", "batch_size", "seed")
    shared = {name: getattr(task, name) for name in names}
    shared |= {"template": template or task.template_name, "tokenizer": task.tokenizer_name}
    shared["templates"] = task.own_templates
    made = build_task(str(spec["class_path"]), {**shared, **(spec.get("init_args") or {})}, where)
    made.use_encoder(task.encoder)
    return made


class GuideRows:
    """Batches of another task's rows.

    Args:
        task: whose training rows.
        size: rows of a batch.
        path: how the model takes its rows.
        seed: of their order.
    """

    def __init__(self, task: Task, size: int, path: Path, seed: int) -> None:
        self._rows: Sequence[Encoded] = task.rows("train")
        self._size = min(size, len(self._rows))
        self._seed = seed
        pad = task.encoder.pad_id
        self._collate = PadRight(pad) if path == "padded" else PackRows(pad, sharing=path == "prefix")

    def batch(self, number: int, net: nn.Module) -> Batch:
        """The batch of this number, counted from 0; epochs follow each other, each in its own order."""
        per_epoch = max(len(self._rows) // self._size, 1)
        epoch, place = divmod(number, per_epoch)
        chosen = shuffled(len(self._rows), self._seed, epoch, _STREAM)[place * self._size : (place + 1) * self._size]
        found = self._collate([(index, self._rows[index]) for index in chosen])
        return found.to(torch.device(next(net.parameters()).device))
