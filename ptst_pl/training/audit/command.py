"""``ptst_pl audit``: rows that do not belong, before a model is trained on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.results.arguments import Parser


def main(argv: Sequence[str]) -> None:
    """Print the verdict and exit with 1 where too many rows raise an alarm."""
    options = _options(argv[1:])
    from ptst_pl.training.audit.verdict import audit  # heavy libraries, once the options are right

    audit(options)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl audit",
        description="Rows that do not belong: text that nobody reads (encodings), odd formats, copies of evaluation "
        "prompts, what a reference model finds unlikely. Exit status: 0 passed, 1 too many alarms, 2 bad input.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "data", metavar="DATA", help="file of rows, or a task as YAML: {class_path: Alpaca, init_args: {}}"
    )
    parser.add_argument("--model", required=True, metavar="REFERENCE", help="folder, .gguf file or hub name")
    parser.add_argument("--chat-format", default="llama2", help="of the reference (%(default)s)")
    parser.add_argument("--template", default="chat:vanilla", help="that the rows are read in (%(default)s)")
    parser.add_argument("--suites", nargs="+", metavar="SUITE", help="known suites or files; copies of their prompts")
    parser.add_argument(
        "--loss", type=int, default=0, metavar="N", help="ask the reference's loss on N rows: alarms first"
    )
    parser.add_argument("--max-share", type=float, default=0.001, help="of rows with an alarm (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write audit.jsonl and audit.html there")
    parser.add_argument("--show", type=int, default=100, metavar="N", help="rows on the page (%(default)s)")
    options = parser.parse_args(argv)
    if options.loss < 0 or options.show < 1 or not 0 <= options.max_share <= 1:
        raise InputError("audit: expected --loss 0 or more, --show 1 or more, --max-share from 0 to 1")
    return options
