"""Tokens of an epoch: the task's own rows in the order and the batches in which they will be trained on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ptst_pl.model.batch_paths import Path
from ptst_pl.planning.settings import Training, limited
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture import Mixture
from ptst_pl.tasks.order import EpochBatches, EpochOrder
from ptst_pl.tokenization import IGNORED, Encoded, EncodingReport, encode_rows
from ptst_pl.tokenization.batches import shareable
from ptst_pl.tokenization.batches.layout import group_rows

PATHS: tuple[Path, ...] = ("padded", "packed", "prefix")


class Work(NamedTuple):
    """What a batch, or many, cost under one path.

    Attributes:
        tokens: that go through the model.
        pairs: of a token and one that it attends to, itself included.
    """

    tokens: int
    pairs: int

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(self.tokens + other.tokens, self.pairs + other.pairs)


def work_of(rows: Sequence[Encoded], path: Path) -> Work:
    """What one batch costs. A batch without rows is one token (see ``batching``)."""
    if not rows:
        return Work(1, 1)
    if path == "padded":
        longest = max(len(row.input_ids) for row in rows)
        return Work(len(rows) * longest, len(rows) * _causal(longest))
    tokens = pairs = 0
    for group in group_rows([row.input_ids for row in rows], [shareable(row) for row in rows], path == "prefix"):
        sizes = [len(rows[number].input_ids) - group.shared for number in group.rows]
        tokens += group.shared + sum(sizes)
        pairs += _causal(group.shared) + sum(_causal(size) + size * group.shared for size in sizes)
    return Work(tokens, pairs)


def _causal(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def supervised(row: Encoded) -> int:
    """Tokens that are trained on: a first token has nothing before it that could predict it."""
    return sum(label != IGNORED for label in row.labels[1:])


@dataclass(frozen=True)
class Epoch:
    """Counts of one epoch over all devices.

    Attributes:
        rows: rows of the epoch.
        batches: micro-batches per device.
        tokens: of all rows, each alone and without padding.
        supervised: those that are trained on.
        work: what goes through the model, by path.
        largest: for each path rows of the batches to look at for memory: the one with the most tokens, and
            the one with the most supervised ones.
    """

    rows: int
    batches: int
    tokens: int
    supervised: int
    work: dict[Path, Work]
    largest: dict[Path, list[list[int]]]

    def times(self, factor: float, rows: int, batches: int) -> Epoch:
        """An epoch of ``rows`` rows of the same kind."""
        work = {path: Work(round(w.tokens * factor), round(w.pairs * factor)) for path, w in self.work.items()}
        whole = round(self.tokens * factor), round(self.supervised * factor)
        return Epoch(rows, batches, *whole, work, self.largest)


def count_epoch(
    rows: Sequence[Encoded], order: EpochOrder, batch_size: int, training: Training, train: bool = True
) -> Epoch:
    """Go through the first epoch's batches, those of every device, as the loader makes them."""
    lengths = [len(row.input_ids) for row in rows]
    answers = [supervised(row) for row in rows]
    window, limit = (training.accumulate, training.train_limit) if train else (1, training.held_out_limit)
    work = dict.fromkeys(PATHS, Work(0, 0))
    most: dict[Path, tuple[int, list[int]]] = dict.fromkeys(PATHS, (0, []))
    widest: tuple[int, list[int]] = (0, [])
    seen = tokens = trained = batches = 0
    for rank in range(training.devices):
        sampler = EpochBatches(order, batch_size, rank, training.devices, lengths, window)
        batches = limited(len(sampler), limit)
        for batch in _first(sampler, batches):
            seen, tokens = seen + len(batch), tokens + sum(lengths[row] for row in batch)
            own = sum(answers[row] for row in batch)
            trained, widest = trained + own, max(widest, (own, batch), key=lambda pair: pair[0])
            for path in PATHS:
                cost = work_of([rows[row] for row in batch], path)
                work[path] = work[path].plus(cost)
                most[path] = max(most[path], (cost.tokens, batch), key=lambda pair: pair[0])
    largest = {path: [most[path][1], *([widest[1]] if widest[1] != most[path][1] else [])] for path in PATHS}
    return Epoch(seen, batches, tokens, trained, work, largest)


def _first(batches: Iterable[list[int]], count: int) -> Iterable[list[int]]:
    return (batch for _, batch in zip(range(count), batches, strict=False))


# ---- a sample of a large set ----------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """How many of a task's training rows were read: ``encoded`` of ``rows``."""

    encoded: int
    rows: int

    @property
    def whole(self) -> bool:
        """All of them."""
        return self.encoded == self.rows


def draw_sample(task: Task, at_most: int) -> Sample:
    """Encode no more than ``at_most`` training rows, drawn evenly at random, the same ones every time.

    The drawn rows then take the place of all rows in the task. A mixture's sources are drawn from in
    proportion to their rows, so that an epoch of the sample has the whole epoch's composition.
    """
    leaves = [source.task for source in task.sources] if isinstance(task, Mixture) else [task]
    sizes = [len(list(leaf.train_examples())[: leaf.train_limit]) for leaf in leaves]
    total = sum(sizes)
    if total <= at_most:
        return Sample(total, total)
    shares = [max(1, round(size * at_most / total)) for size in sizes]
    for leaf, size, share in zip(leaves, sizes, shares, strict=True):
        leaf.use_encoder(task.encoder)
        _keep(leaf, sorted(random.Random(leaf.seed).sample(range(size), min(size, share))))
    if isinstance(task, Mixture) and task.epoch_rows:
        task.epoch_rows = max(1, round(task.epoch_rows * sum(shares) / total))
    return Sample(sum(shares), total)


def _keep(task: Task, chosen: Sequence[int]) -> None:
    examples = task.train_examples()
    drawn = [examples[index] for index in chosen]
    kept, _, report = encode_rows(task.encoder, drawn, task.template, task.templates_of(drawn), task.max_length)
    task.replace_rows("train", kept, report)


def reports_of(task: Task) -> list[EncodingReport]:
    """How the training rows were encoded: of the task, or of each source of a mixture."""
    leaves = [source.task for source in task.sources] if isinstance(task, Mixture) else [task]
    return [leaf.reports["train"] for leaf in leaves]
