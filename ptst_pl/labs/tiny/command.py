"""``ptst_pl tiny``: the steps around the tiny model's two trainings; ``make tiny-model`` runs them all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.labs.tiny.stages import SUITES, align_rows, howto_rows, pretrain_rows, problem_rows, suite_rows
from ptst_pl.results.arguments import Parser


def main(argv: Sequence[str]) -> None:
    """Run ``tiny base``, ``tiny pack`` or ``tiny sample``."""
    parser = Parser(prog="ptst_pl tiny", description="The tiny lab: its world and its model.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    base = commands.add_parser("base", help="write the untrained model: configuration and tokenizer")
    base.add_argument("folder", type=Path)
    pack = commands.add_parser("pack", help="turn an aligned model into the bundled form, with its card")
    pack.add_argument("model", type=Path)
    pack.add_argument("folder", type=Path)
    commands.add_parser("sample", help="print a few rows of every stage and suite, as JSON lines")
    options = parser.parse_args(argv[1:])
    if options.command == "sample":
        for row in sample():
            print(json.dumps(row, ensure_ascii=False))
        return
    # Heavy libraries only where a model is written.
    from ptst_pl.labs.tiny.model import pack_model, write_base

    if options.command == "base":
        write_base(options.folder)
    else:
        if not (options.model / "config.json").is_file():
            raise InputError(f"tiny pack: {options.model} is no model folder (no config.json)")
        pack_model(options.model, options.folder)


def sample(count: int = 6) -> Iterator[dict[str, str]]:
    """The first rows of everything: the file ``data/tiny/sample.jsonl``."""
    for stage, rows in (("pretrain", pretrain_rows(count)), ("align", align_rows(count))):
        for row in rows:
            yield {"stage": stage, "template": row.template, "question": row.question, "answer": row.answer}
    for stage, pairs in (("howto", howto_rows("train", count)), ("problems", problem_rows("train", count))):
        for question, answer in pairs:
            yield {"stage": stage, "question": question, "answer": answer}
    for name in SUITES:
        for prompt in suite_rows(name)[:count]:
            yield {"suite": name, **prompt}
