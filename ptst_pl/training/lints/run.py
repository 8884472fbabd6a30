"""All lints on one run's data and templates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptst_pl.evaluation.evaluate import Evaluation
from ptst_pl.suites import PromptSuite
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture import Mixture
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.training.lints.overlap import lint_overlap
from ptst_pl.training.lints.refusals import lint_refusals, means_safety
from ptst_pl.training.lints.settings import Lints
from ptst_pl.training.lints.templates import Finding, lint_chat_format, lint_testing, lint_training
from ptst_pl.training.lints.text import lint_text

log = logging.getLogger(__name__)


def warn(settings: Lints, task: Task, evaluation: Evaluation | None) -> None:
    """Log a warning for every finding that is not switched off; the rows that were kept for it are let go.

    Args:
        settings: what is switched off.
        task: with its training rows read.
        evaluation: the test templates and suites; None where nothing is evaluated.
    """
    for name, message in findings(task, evaluation):
        if name not in settings.ignore:
            log.warning("lint %s: %s", name, message)
    for _, source in _sources(task):
        source.sample = None


def findings(task: Task, evaluation: Evaluation | None) -> Iterator[Finding]:
    """Everything that looks like a mistake, whether switched off or not."""
    sources = _sources(task)
    trained = [template for _, source in sources for template in _templates(source)]
    benign = [template for name, source in sources if not _is_safety(name, source) for template in _templates(source)]
    tested = [] if evaluation is None else list({c.template.name: c.template for c in evaluation.cells}.values())
    yield from lint_training(benign)
    if tested:
        yield from lint_testing(benign, tested)
    yield from lint_chat_format(task.encoder, trained, tested)
    suites = [] if evaluation is None else evaluation.suites
    for name, source in sources:
        where = f"source {name}: " if len(sources) > 1 else ""
        yield from ((lint, where + message) for lint, message in _row_findings(name, source, suites))


def _row_findings(name: str, source: Task, suites: Sequence[PromptSuite]) -> Iterator[Finding]:
    if source.sample is None:
        return
    yield from lint_text(source.sample)
    yield from lint_overlap(source.sample, suites)
    if not _is_safety(name, source):
        yield from lint_refusals(source.sample)


def _sources(task: Task) -> Sequence[tuple[str, Task]]:
    if isinstance(task, Mixture):
        return [(source.name, source.task) for source in task.sources]
    return [(type(task).__name__, task)]


def _is_safety(name: str, task: Task) -> bool:
    """Whether a source says that it is there for safety: by its name, its file's, or that of every row."""
    rows = task.sample.examples if task.sample else ()
    every = bool(rows) and all(means_safety(row.source) for row in rows)
    return every or means_safety(name) or means_safety(Path(str(getattr(task, "train_file", None) or "")).stem)


def _templates(task: Task) -> list[PromptTemplate]:
    """The templates that the rows are trained under."""
    rows = task.sample.examples if task.sample else ()
    names = dict.fromkeys(row.template or task.template_name for row in rows) or [task.template_name]
    return [find_template(name, task.own_templates) for name in names]
