"""``ptst_pl compare``: results beside the numbers that the paper prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.report.paper.compare import compare_tables
from ptst_pl.report.paper.layout import FORMATS
from ptst_pl.report.paper.our_rates import read
from ptst_pl.report.paper.published import find_tables
from ptst_pl.results.arguments import Parser
from ptst_pl.results.records import write_text


def _parser() -> Parser:
    parser = Parser(
        prog="ptst_pl compare",
        description="Measured beside published, cell by cell. Tables: 1 (or 1a to 1d), 2 to 7, fig3a, fig3b.",
    )
    parser.add_argument(
        "results", nargs="+", metavar="RESULTS",
        help="run folder or results folder; several of one row are its seeds; ROW=FOLDER says which row it is (CL=...)",
    )  # fmt: skip
    parser.add_argument("--table", required=True, help="which table of the paper")
    parser.add_argument("--judge", help="whose verdicts; by default the rubric judge's, or those of the only judge")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    return parser


def main(argv: Sequence[str]) -> None:
    """Read, compare, print."""
    options = _parser().parse_args(argv[1:])
    tables = find_tables(options.table)
    runs = [read(argument, tables) for argument in options.results]
    text = FORMATS[options.format](compare_tables(runs, tables, options.judge), tables)
    if options.output is None:
        print(text, end="")
        return
    if options.output.is_dir():
        raise InputError(f"compare: --output {options.output} is a folder, expected a file name")
    write_text(options.output, text)
    print(f"wrote {options.output}")
