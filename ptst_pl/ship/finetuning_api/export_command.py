"""``ptst_pl export-chat``: a task's training rows as a file for OpenAI's chat fine-tuning.

Of a config only ``data`` and ``templates`` are read, so that any training config serves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser

import ptst_pl.tasks  # noqa: F401  (short class names)
from ptst_pl import InputError
from ptst_pl.results.records import to_line, write_text
from ptst_pl.ship.finetuning_api.chat_file import notes, read_chat_file, token_estimate
from ptst_pl.ship.finetuning_api.chat_rows import chat_rows
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.config_errors import explain
from ptst_pl.templates import OwnTemplates
from ptst_pl.training.config_files import read_config, split_configs

KEYS = ("templates", "data")
# Short flags for the usual case; every other key of the task is a flag --data.<key>, as in 'fit'.
_SHORT = {
    "--task": "--data",
    "--template": "--data.template",
    "--train_file": "--data.train_file",
    "--held_out_file": "--data.held_out_file",
    "--limit": "--data.train_limit",
}


def main(argv: Sequence[str]) -> None:
    """Write the file whole or not at all, read it back, print what is in it."""
    output, task = _parse(argv)
    rows = list(chat_rows(task))
    write_text(output, "".join(to_line(row) for _, row in rows))
    file = read_chat_file(output)
    under = ", ".join(f"{name} ({count:,})" for name, count in Counter(name for name, _ in rows).items())
    print(f"wrote {len(file.rows):,} rows to {output}: {len(file.content) / 1e6:.2f} MB, sha256 {file.sha256[:16]}")
    print(f"under {under}")
    print(token_estimate(file.rows))
    for note in notes(file):
        print(f"note: {note}")


def _parse(argv: Sequence[str]) -> tuple[Path, Task]:
    parser = ArgumentParser(prog="ptst_pl export-chat", exit_on_error=False, description=__doc__)
    parser.add_argument("--config", type=str | None, default=None, help="a training config")
    parser.add_argument("--output", type=str, required=True, help="the file to write")
    parser.add_argument("--templates", type=OwnTemplates, default={}, help="your own templates")
    parser.add_subclass_arguments(Task, "data", required=True, help="the task; short: --task GSM8K --template NAME")
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    try:
        parsed = parser.parse_args(_words(argv[1:]))
        task = make(parsed)["data"]
    except ArgumentError as error:
        raise InputError(explain(str(error), argv, [action.dest for action in parser._actions])) from error
    assert isinstance(task, Task)
    task.own_templates = task.own_templates | parsed.templates
    return Path(parsed.output), task


def _words(argv: Sequence[str]) -> list[str]:
    """The command line with a config's keys in front, and short flags in their long form."""
    files, rest = split_configs(argv)
    words = [word.partition("=") for word in rest]
    given = [word for file in files for word in _of_config(file)]
    return [*given, *(_SHORT.get(flag, flag) + equals + value for flag, equals, value in words)]


def _of_config(path: Path) -> list[str]:
    found = read_config(path)
    if "data" not in found:
        raise InputError(f"--config {path}: no key 'data', which names the task; expected a training config")
    return [f"--{key}={json.dumps(found[key])}" for key in KEYS if key in found]
