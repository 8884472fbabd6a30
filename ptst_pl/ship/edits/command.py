"""``ptst_pl edit``: write an edited model from an aligned and a fine-tuned one, tensor by tensor."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ptst_pl.results.arguments import Parser

NAMES = ("interpolate", "lora-scale", "resta", "safe-lora", "safe-delta", "safe-merge", "lox", "antidote")


def main(argv: Sequence[str]) -> None:
    """Write one folder, or one for each value of a list."""
    options, more = _options(argv[1:])
    from ptst_pl.ship.edits.making import make  # heavy libraries, once the options are right

    make(options, more)


def _options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(
        prog="ptst_pl edit",
        description="A third model from an aligned and a fine-tuned one. The edit's own arguments follow as "
        "--NAME VALUE; a list, such as --alpha 0,0.5,1, writes a folder for each value.",
        allow_abbrev=False,
    )
    parser.add_argument("given", type=Path, metavar="RUN", help="a finished run, or a model folder with --aligned")
    parser.add_argument("--with", required=True, metavar="EDIT", help=", ".join(NAMES))
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new or empty folder")
    parser.add_argument("--aligned", metavar="MODEL", help="what RUN was fine-tuned from, where it is a model folder")
    parser.add_argument("--base", metavar="MODEL", help="the model before its alignment (safe-lora, safe-merge, lox)")
    parser.add_argument("--unaligned", metavar="MODEL", help="the aligned model made unsafe (resta)")
    parser.add_argument("--safety", metavar="MODEL", help="a model tuned for safety (safe-merge)")
    parser.add_argument("--rows", metavar="TASK", help="rows to look at layers with (safe-delta, antidote): YAML")
    parser.add_argument("--template", default="chat:llama", help="of these rows (%(default)s)")
    parser.add_argument("--chat-format", default="llama2", help="where RUN is no run (%(default)s)")
    parser.add_argument("--limit", type=int, default=128, help="how many of these rows (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="written (%(default)s)")
    return parser.parse_known_args(argv)
