"""Several tasks trained on together, each in its own amount and under its own template.

Mixing safety rows in, as in Table 6 of the paper (arXiv 2402.18540): one epoch that holds GSM8K six
times and the safety rows once::

    data:
      class_path: Mixture
      init_args:
        template: chat:vanilla
        sources:
          - {task: GSM8K, passes: 6}
          - name: safety
            task: {class_path: JsonLines, init_args: {train_file: safe.jsonl, held_out_file: safe-held-out.jsonl}}
            passes: 1
            template: chat:llama  # only here; without it the template above

The paper does not say how the two parts were interleaved. Here they are shuffled together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ptst_pl import InputError
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture_order import MixtureOrder, rows_per_epoch
from ptst_pl.tasks.mixture_source import Source, read_source
from ptst_pl.tasks.order import EpochOrder
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.tokenization import Encoded, Example
from ptst_pl.tokenization.batches import Sources
from ptst_pl.tokenization.compact_rows import CompactRows

log = logging.getLogger(__name__)


class Mixture(Task):
    """Rows of several tasks in one epoch.

    For the keys of a source see ``read_source``. ``passes`` is how often an epoch goes over the source's
    rows; 0.5 is one half of them in the first epoch and the other half in the second. ``weight`` is the
    source's share of the rows of an epoch; for the length of an epoch see ``rows_per_epoch``. Rows are
    counted after those without an answer token were dropped.

    The held-out loss is over all held-out rows of all sources, each once. ``train_limit``,
    ``held_out_limit`` and ``max_length`` hold for each source that does not set its own.

    Args:
        template: the training template of sources that name none.
        sources: the sources, each a mapping. A list on the command line replaces the config's as a
            whole: typed entries would be merged one by one.
        epoch_rows: rows of an epoch, only where every source has a weight.
        options: see ``Task``.

    Raises:
        InputError: a source that cannot be used as it is written, or two of one name.
    """

    def __init__(
        self, template: str, sources: list[dict[str, Any]], epoch_rows: int | None = None, **options: Any
    ) -> None:
        super().__init__(template, **options)
        if not sources:
            raise InputError("mixture: 'sources' is empty; give at least one task")
        if epoch_rows is not None and epoch_rows <= 0:
            raise InputError(f"mixture: epoch_rows is {epoch_rows}, expected a number above 0")
        self.default_template, self.epoch_rows = template, epoch_rows
        self.sources = [read_source(spec, f"mixture: source {n}", self._shared()) for n, spec in enumerate(sources, 1)]
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"mixture: two sources are named {name!r}; give each its own 'name'")
        self.template_name = self._label()
        # Test templates are looked up here: those that a source brings along count too.
        for source in self.sources:
            self.own_templates = source.task.own_templates | self.own_templates

    @property
    def template(self) -> PromptTemplate:
        """The template of sources that name none."""
        return find_template(self.default_template, self.own_templates)

    def _shared(self) -> dict[str, Any]:
        """What a source has from the mixture unless it says otherwise."""
        names = ("chat_format", "chat_options", "max_length", "train_limit", "held_out_limit", "batch_size", "seed")
        own = {"template": self.default_template, "tokenizer": self.tokenizer_name, "templates": self.own_templates}
        return own | {name: getattr(self, name) for name in names}

    def _label(self) -> str:
        """What the results call the training, such as ``chat:vanilla +safety``.

        Never a template's name alone where there are several sources: reports average runs of one
        label, and a mixture is no further seed of a plain run.
        """
        first, *others = self.sources
        own = first.task.template_name
        parts = [s.name + ("" if s.task.template_name == own else f"@{s.task.template_name}") for s in others]
        return " ".join([own, *(f"+{part}" for part in parts)])

    # ---- rows -------------------------------------------------------------------------------

    def train_examples(self) -> Sequence[Example]:
        """All training pairs, source by source, each pair once."""
        return [example for source in self.sources for example in source.task.train_examples()]

    def held_out_examples(self) -> Sequence[Example]:
        """All held-out pairs, source by source."""
        return [example for source in self.sources for example in source.task.held_out_examples()]

    def rows(self, part: str) -> Sequence[Encoded]:
        """The encoded rows of all sources, source by source, each once.

        Raises:
            InputError: a source is empty or cannot be read or encoded.
        """
        if part not in self._rows:
            self._rows[part] = CompactRows(row for source in self.sources for row in self._rows_of(source, part))
        return self._rows[part]

    def _rows_of(self, source: Source, part: str) -> Sequence[Encoded]:
        source.task.use_encoder(self.encoder)
        try:
            return source.task.rows(part)
        except InputError as error:
            raise InputError(f"source {source.name!r}: {error}") from error

    def sizes(self, part: str) -> list[int]:
        """Rows there are of each source."""
        return [len(self._rows_of(source, part)) for source in self.sources]

    def counts(self) -> dict[str, int]:
        """Training rows that each source gives to every epoch, by its name."""
        names = [source.name for source in self.sources]
        amounts = [source.amount for source in self.sources]
        return dict(zip(names, rows_per_epoch(names, self.sizes("train"), amounts, self.epoch_rows), strict=True))

    def order(self, part: str, shuffle: bool) -> EpochOrder:
        """The mixture for training; the held-out rows each once."""
        if not shuffle:
            return super().order(part, shuffle)
        return MixtureOrder(self.sizes(part), list(self.counts().values()), self.seed)

    def sources_of(self, part: str) -> Sources | None:
        """Every row's source, for a loss of each."""
        if len(self.sources) == 1:
            return None
        of_row = [number for number, size in enumerate(self.sizes(part)) for _ in range(size)]
        return Sources(tuple(source.name for source in self.sources), of_row)

    def check(self, stage: str) -> None:
        """Read and encode everything, and log what an epoch is made of."""
        super().check(stage)
        if stage != "fit":
            return
        counts, total = self.counts(), sum(self.counts().values())
        for source, size in zip(self.sources, self.sizes("train"), strict=True):
            count = counts[source.name]
            log.info(
                "mixture: %d of the %d rows of an epoch (%.1f %%) are of %s (%.4g x %d), template %s",
                count, total, 100 * count / total, source.name, count / size, size, source.task.template_name,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint says about its training prompts."""
        templates = {source.name: source.task.template_name for source in self.sources}
        return super().state_dict() | {"templates": templates}
