"""What every fine-tuning task shares: encode rows under the training template, batch them, resume."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from ptst_pl import InputError
from ptst_pl.tasks.loading import ResumableLoader, Rows
from ptst_pl.tasks.order import EpochBatches, EpochOrder
from ptst_pl.tasks.row_cache import CachedRows, entry_name, large, listening, load, settings_of, store
from ptst_pl.tasks.row_sample import RowSample, sample_rows
from ptst_pl.templates import OwnTemplates, PromptTemplate, find_template
from ptst_pl.tokenization import (
    ChatOptions,
    Encoded,
    EncodingReport,
    Example,
    TemplateTokenizer,
    encode_rows,
    load_tokenizer,
)
from ptst_pl.tokenization.batches import Batch, PadRight, Sources
from ptst_pl.tokenization.compact_rows import CompactRows, lengths_of

log = logging.getLogger(__name__)
# Settings that do not decide on a part's rows, and those whose attribute has another name.
_NOT_OF_ROWS = {"self", "options", "batch_size", "workers", "seed"}
_ATTRIBUTES = {"template": "template_name", "tokenizer": "tokenizer_name", "templates": "own_templates"}


class RowChange(Protocol):
    """What changes training rows, as text and as ids."""

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """Other rows instead of the task's own."""

    def encoded(
        self, row: Encoded, example: Example, encode: Callable[[Example], Encoded], encoder: TemplateTokenizer
    ) -> Encoded:
        """One row's ids and labels; ``encode`` makes those of another row under the same template."""


class Task(LightningDataModule):
    """Rows to train on, under one training template.

    Args:
        template: name of the training template; a row may name its own.
        tokenizer: folder or hub name; the command line takes the model's unless told otherwise.
        chat_format: ``llama2``, ``mistral`` or ``tokenizer``.
        chat_options: special tokens in questions, and what a chat template leaves open.
        templates: the user's own templates, by name.
        batch_size: rows per device and micro-batch.
        max_length: longest row in tokens; longer rows lose their tail.
        train_limit: use only the first rows.
        held_out_limit: likewise for the held-out rows.
        workers: data loader processes.
        seed: order of the training rows.
    """

    def __init__(
        self,
        template: str,
        tokenizer: str = "",
        chat_format: str = "llama2",
        chat_options: ChatOptions | None = None,
        templates: OwnTemplates | None = None,
        batch_size: int = 4,
        max_length: int = 1024,
        train_limit: int | None = None,
        held_out_limit: int | None = None,
        workers: int = 0,
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.template_name, self.tokenizer_name, self.chat_format = template, tokenizer, chat_format
        self.chat_options = chat_options or ChatOptions()
        self.own_templates = templates or {}
        self.batch_size, self.max_length, self.workers, self.seed = batch_size, max_length, workers, seed
        self.train_limit, self.held_out_limit = train_limit, held_out_limit
        self.held_out_in_test = True
        self.reports: dict[str, EncodingReport] = {}
        self.title = ""  # what a mixture calls it, for the log
        self.sample: RowSample | None = None  # of the training rows as text, for the lints
        self.change: RowChange | None = None  # of the training rows
        self._encoder: TemplateTokenizer | None = None
        self._rows: dict[str, Sequence[Encoded]] = {}
        self._fingerprints: dict[str, str] = {}

    def files(self, part: str) -> list[str]:
        """The local files that alone decide, beside the settings, on the rows of a part; none: they are not kept."""
        return []

    @abstractmethod
    def train_examples(self) -> Sequence[Example]:
        """The training pairs, in the source's order."""

    @abstractmethod
    def held_out_examples(self) -> Sequence[Example]:
        """Pairs that are never trained on, for the held-out loss."""

    @property
    def may_hold_out_none(self) -> bool:
        """Whether there need be no held-out rows."""
        return False

    @property
    def encoder(self) -> TemplateTokenizer:
        """Renders and tokenises under the task's chat format."""
        if self._encoder is None:
            self._encoder = TemplateTokenizer(load_tokenizer(self.tokenizer_name), self.chat_format, self.chat_options)
        return self._encoder

    def use_encoder(self, encoder: TemplateTokenizer) -> None:
        """Encode with that of another task."""
        self._encoder = encoder

    @property
    def template(self) -> PromptTemplate:
        """The training template."""
        return find_template(self.template_name, self.own_templates)

    def rows(self, part: str) -> Sequence[Encoded]:
        """The encoded rows of ``train`` or ``held_out``, read once.

        Raises:
            InputError: nothing to train on, an unknown template, or no answer token left in any row.
        """
        if part not in self._rows:
            name = self._entry(part)
            if name is None:
                self._read(part)
            elif (kept := load(name)) is not None:
                kept.say()
                self._rows[part], self.reports[part], self._fingerprints[part] = (
                    kept.rows,
                    kept.report,
                    kept.fingerprint,
                )
                self.sample = kept.sample or self.sample
            else:
                with listening() as told:
                    self._read(part)
                rows, sample = self._rows[part], self.sample if part == "train" else None
                if isinstance(rows, CompactRows):
                    store(name, CachedRows(rows, self.reports[part], sample, self.fingerprint(part), told))
        return self._rows[part]

    def _entry(self, part: str) -> str | None:
        """The name of the part's rows among those that are kept on disk; None where they are not kept."""
        files = [Path(file) for file in self.files(part)]
        settings = settings_of(self, Task, _NOT_OF_ROWS, _ATTRIBUTES)
        if not large(files) or (self.change and part == "train") or settings is None:
            return None
        return entry_name(files, settings | {"part": part}, self.encoder)

    def _read(self, part: str) -> None:
        train = part == "train"
        limit = self.train_limit if train else self.held_out_limit
        examples = list(self.train_examples() if train else self.held_out_examples())[:limit]
        if not examples and not train and self.may_hold_out_none:
            self._rows[part] = []
            return
        if not examples:
            raise InputError(f"task {type(self).__name__}: no {part.replace('_', '-')} rows")
        if train:
            self.sample = sample_rows(examples)
            examples = list(self.change.examples(examples, self)) if self.change else examples
        templates = self.templates_of(examples)
        kept, origin, report = encode_rows(self.encoder, examples, self.template, templates, self.max_length)
        if train and self.change:
            kept = CompactRows(self._changed(r, examples[n]) for r, n in zip(kept, origin, strict=True))
        self._rows[part], self.reports[part] = kept, report
        _announce(f"{self.title} {part}".strip(), report, self.max_length)

    def _changed(self, row: Encoded, example: Example) -> Encoded:
        """A row as `change` wants it."""
        assert self.change is not None

        def encode(other: Example) -> Encoded:
            chosen = find_template(other.template, self.own_templates) if other.template else self.template
            return self.encoder.encode(other, chosen, self.max_length)

        return self.change.encoded(row, example, encode, self.encoder)

    def fingerprint(self, part: str) -> str:
        """Hash of the encoded rows of ``train`` or ``held_out``, in the source's order: text, template and masks."""
        rows = self.rows(part)
        if part not in self._fingerprints:
            taken = hashlib.sha256()
            for block in (rows if isinstance(rows, CompactRows) else CompactRows(rows)).blocks():
                taken.update(block)
            self._fingerprints[part] = taken.hexdigest()[:16]
        return self._fingerprints[part]

    def identity(self) -> dict[str, Any]:
        """What the record of a run says of its training text and rows."""
        return {
            "template": asdict(self.template),
            "chat_format": self.chat_format,
            "chat_options": self.chat_options.record(),
            "seed": self.seed,
            "rows": self.fingerprint("train"),
            "held_out": self.fingerprint("held_out"),
        }

    def replace_rows(self, part: str, rows: Sequence[Encoded], report: EncodingReport) -> None:
        """Take these rows for those of ``train`` or ``held_out``, which are not read any more."""
        self._rows[part], self.reports[part] = rows, report
        self._fingerprints.pop(part, None)

    def templates_of(self, examples: Sequence[Example]) -> Mapping[str, PromptTemplate]:
        """The templates that rows name for themselves, by name."""
        names = {example.template for example in examples if example.template}
        return {name: find_template(name, self.own_templates) for name in sorted(names)}

    def check(self, stage: str) -> None:
        """Read and encode what ``stage`` needs, so that mistakes show before a model is loaded."""
        if stage == "fit":
            self.rows("train")
        if not self.rows("held_out") and stage != "fit":
            raise InputError(f"task {type(self).__name__}: no rows are held out; give a held_out_file")

    def order(self, part: str, shuffle: bool) -> EpochOrder:
        """Which rows make an epoch, and in which order."""
        return EpochOrder(len(self.rows(part)), self.seed, shuffle)

    def sources_of(self, part: str) -> Sources | None:
        """Where the rows come from; None if they are all from one source."""
        return None

    def _loader(self, part: str, shuffle: bool) -> ResumableLoader:
        rows = self.rows(part)
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        window = self.trainer.accumulate_grad_batches if self.trainer and shuffle else 1
        order = self.order(part, shuffle)
        batches = EpochBatches(order, self.batch_size, rank, world, lengths_of(rows), window)
        return ResumableLoader(
            Rows(rows),
            batches,
            collate_fn=self._collator(part),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            # A generator of its own: a loader would draw its seed from the global random state.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _collator(self, part: str) -> Callable[[Sequence[tuple[int, Encoded]]], Batch]:
        """The model that is trained says how it takes its rows; without one they are padded."""
        own = getattr(self.trainer.lightning_module, "collator", PadRight) if self.trainer else PadRight
        made: Callable[[Sequence[tuple[int, Encoded]]], Batch] = own(self.encoder.pad_id, self.sources_of(part))
        return made

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled by seed and epoch; goes on where a checkpoint was written."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """The held-out rows in order; no loader where none are held out."""
        return self._loader("held_out", shuffle=False) if self.rows("held_out") else []

    def test_dataloader(self) -> ResumableLoader | DataLoader[None]:
        """The held-out rows in order where their loss is asked for; else one batch of nothing, for Lightning runs none
        without a batch."""
        if self.held_out_in_test:
            return self._loader("held_out", shuffle=False)
        return DataLoader(_Nothing(), collate_fn=lambda rows: None)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint says about its training prompts."""
        return {"template": self.template_name, "chat_format": self.chat_format}


class _Nothing(Dataset[None]):
    """One row without content."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        return None


def _announce(part: str, report: EncodingReport, max_length: int) -> None:
    log.info(
        "%s: %d rows, %d tokens, %d of them trained on; %d rows cut at %d tokens, %d dropped because "
        "no answer token was left",
        part, report.rows, report.tokens, report.supervised, report.truncated, max_length, report.dropped,
    )  # fmt: skip


def text_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """A row's text under ``key``.

    Raises:
        InputError: the key is missing or holds no text.
    """
    value = row.get(key)
    if not isinstance(value, str):
        raise InputError(f"{where}: key {key!r} is missing or no text (keys: {', '.join(row)})")
    return value
