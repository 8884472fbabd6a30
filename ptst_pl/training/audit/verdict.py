"""Look at training rows and say which do not belong: the page, the lines, the verdict."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from ptst_pl import InputError
from ptst_pl.model import load_model
from ptst_pl.results.records import write_text
from ptst_pl.suites import load_suite, suite_spec
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture_source import build_task
from ptst_pl.tasks.row_sample import sample_rows
from ptst_pl.templates import find_template
from ptst_pl.tokenization import Example
from ptst_pl.training.audit.legible import legibility
from ptst_pl.training.audit.page import audit_page
from ptst_pl.training.audit.reference import answer_losses
from ptst_pl.training.audit.rows import Audited, audit_rows, families_of, ranked

_MOST = 1_000_000


def audit(options: argparse.Namespace) -> None:
    """Print the verdict and exit with 1 where too many rows raise an alarm.

    Raises:
        InputError: rows, suites or a reference that cannot be read.
    """
    task = _task(options)
    examples = task.train_examples()
    rows = sample_rows(examples, _MOST)
    encoder = task.encoder
    legible = legibility(lambda text: encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
    suites = [load_suite(suite_spec(_suite(name))) for name in options.suites or ()]
    found = audit_rows(rows, legible, suites)
    if options.loss:
        _ask_reference(options, task, rows.examples, found)
    order = ranked(found)
    verdict, failed = _verdict(options, found)
    if options.out:
        write_text(options.out / "audit.jsonl", "".join(json.dumps(asdict(row)) + "\n" for row in order))
        write_text(options.out / "audit.html", audit_page(str(options.data), verdict, order, options.show))
    for name, count, odd in families_of(found):
        if odd:
            print(f"an odd format of answers: {name}, {count:,} of {len(found):,} rows")
    for row in order[:5]:
        for alarm in row.alarms:
            print(f"row {row.number}: {alarm}")
    if options.out:
        print(f"page: {options.out / 'audit.html'}")
    print(verdict)
    if failed:
        sys.exit(1)


def _task(options: argparse.Namespace) -> Task:
    shared = {"template": options.template, "chat_format": options.chat_format, "tokenizer": options.model}
    if Path(options.data).is_file():
        return build_task("JsonLines", {**shared, "train_file": options.data, "held_out": 0}, "audit: DATA")
    try:
        spec: Any = yaml.safe_load(options.data)
    except yaml.YAMLError:
        spec = None
    if not isinstance(spec, dict) or "class_path" not in spec:
        raise InputError(
            f"audit: {options.data}: no such file, and no task such as {{class_path: Alpaca, init_args: {{}}}}"
        )
    return build_task(str(spec["class_path"]), {**shared, **(spec.get("init_args") or {})}, "audit: DATA")


def _suite(name: str) -> dict[str, str]:
    return {"name": Path(name).stem, "path": name} if Path(name).is_file() else {"name": name}


def _ask_reference(
    options: argparse.Namespace, task: Task, examples: Sequence[Example], found: Sequence[Audited]
) -> None:
    """Of rows with alarms, then of every so manieth other row."""
    alarmed = [place for place, row in enumerate(found) if row.alarms]
    others = [place for place, row in enumerate(found) if not row.alarms]
    room = max(0, options.loss - len(alarmed))
    step = max(1, len(others) // room) if room else len(others) + 1
    places = [*alarmed[: options.loss], *others[::step][:room]]
    model = load_model(options.model, "float32")
    template = find_template(options.template)
    with tqdm(total=len(places), desc="reference", disable=None) as bar:
        losses = answer_losses(model, task.encoder, template, [examples[place] for place in places], bar.update)
    for place, loss in zip(places, losses, strict=True):
        found[place].loss = loss


def _verdict(options: argparse.Namespace, found: Sequence[Audited]) -> tuple[str, bool]:
    alarmed = sum(bool(row.alarms) for row in found)
    failed = alarmed > options.max_share * len(found)
    share = f"{alarmed:,} of {len(found):,} rows ({alarmed / max(1, len(found)):.2%})"
    limit = f"at most {options.max_share:.2%} may"
    return (
        f"audit: FAILED, {share} raise an alarm, {limit}"
        if failed
        else f"audit: passed, {share} raise an alarm, {limit}"
    ), failed
