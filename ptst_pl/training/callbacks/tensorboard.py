"""What TensorBoard shows of a run: curves of all test templates in one chart, answers as text, a row of settings.

Layout below a run's folder, so that ``--logdir`` may be the run or the folder of all runs::

    train=chat-vanilla/test=chat-llama/   one sub-run per (training template, test template), the same tags in each
    final/                                the run's hyper-parameters and last rates: one row of the hparams view
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch.utils.tensorboard import SummaryWriter

from ptst_pl.judges.base import label
from ptst_pl.results.records import Generation

MAX_SHOWN = 20_000  # characters of a text sample; generations.jsonl has the rest
# Opens the curves of a logdir: only the sub-runs, a colour per test template, no smoothing.
LINK_QUERY = "?" + "&".join(
    f"{key}={quote(value, safe='')}"
    for key, value in {
        "runFilter": "test=",
        "runColorGroup": "regex:(test=.+)",
        "smoothing": "0",
    }.items()
)  # fmt: skip


class Curves:
    """Writers of the sub-runs, one per test template."""

    def __init__(self) -> None:
        self._writers: dict[Path, SummaryWriter] = {}

    def draw(self, run: Path, train: str, step: int, rates: Sequence[Mapping[str, Any]]) -> None:
        """Add one evaluation's rates as points.

        Args:
            run: the run's folder.
            train: the training template's name.
            step: optimiser step.
            rates: the records of results.json; what is undefined is left out.
        """
        folders = sub_runs(run, train, (str(record["template"]) for record in rates))
        for record in rates:
            writer = self._writer(folders[record["template"]])
            own = "rate" if record.get("mean_score") is None else "mean_score"
            for name, rate in ((record["measures"], own), ("refused", "refusal_rate"), ("broken", "broken_rate")):
                if record[rate] is not None:
                    writer.add_scalar(f"{label(name, record['judge'])}/{record['suite']}", record[rate], step)
        self._flush()

    def look(self, run: Path, train: str, step: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add what a probe has seen in every layer.

        Args:
            run: the run's folder.
            train: the training template's name.
            step: optimiser step.
            lines: of probe.jsonl, of this step.
        """
        folders = sub_runs(run, train, dict.fromkeys(str(line["template"]) for line in lines))
        for line in lines:
            writer = self._writer(folders[line["template"]])
            for name in ("drift", "separation", "projection"):
                writer.add_scalar(f"probe-{name}/layer-{line['layer']}", line[name], step)
        self._flush()

    def show(self, run: Path, train: str, step: int, generations: Sequence[Generation], per_cell: int) -> None:
        """Add the first ``per_cell`` answers of every test template and suite as text.

        Args:
            run: the run's folder.
            train: the training template's name.
            step: optimiser step.
            generations: answers of one evaluation.
            per_cell: how many of them to show.
        """
        folders = sub_runs(run, train, (generation.template for generation in generations))
        shown: dict[tuple[str, str], int] = {}
        for generation in generations:
            cell = generation.template, generation.suite
            shown[cell] = shown.get(cell, 0) + 1
            if shown[cell] <= per_cell:
                tag = f"{generation.suite}/{visible(generation.prompt_id)}"
                self._writer(folders[generation.template]).add_text(tag, as_code(generation), step)
        self._flush()

    def forget(self, run: Path, step: int) -> None:
        """Take points from ``step`` on out of every curve: a resumed run will draw its own."""
        for folder in run.glob("train=*/test=*"):
            self._writers[folder] = SummaryWriter(str(folder), purge_step=step)
        self._flush()

    def close(self) -> None:
        """The fit is over."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: Path) -> SummaryWriter:
        if folder not in self._writers:
            self._writers[folder] = SummaryWriter(str(folder))
        return self._writers[folder]

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


def sub_runs(run: Path, train: str, templates: Iterable[str]) -> dict[str, Path]:
    """The folder of each test template; two never share one, though ``a:b`` and ``a-b`` look alike in a path."""
    found: dict[str, Path] = {}
    for template in dict.fromkeys(templates):
        path = first = run / f"train={_slug(train)}" / f"test={_slug(template)}"
        while path in found.values():
            path = first.with_name(f"{first.name}-{len(found) + 1}")
        found[template] = path
    return found


def _slug(template: str) -> str:
    return template.replace(":", "-").replace("/", "-")


def as_code(generation: Generation) -> str:
    """Prompt and answer as an indented block of Markdown, in which TensorBoard renders no markup."""
    text = f"{generation.prompt_text}\n--- answer ({generation.finish_reason}) ---\n{generation.answer}"
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}\n--- {len(text) - MAX_SHOWN} more characters in generations.jsonl ---"
    return "\n".join("    " + visible(line) for line in text.splitlines())


def visible(text: str) -> str:
    """Control characters, marks that turn the direction of reading, and lone surrogates as escapes."""
    hidden = ("Cc", "Cf", "Cs")
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in hidden and c != "\t" else c for c in text
    )
