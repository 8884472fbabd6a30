"""``ptst_pl report``: tables, figures and one HTML page of one or more runs, from their result files alone."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.report.comparable import incomparable, incomplete
from ptst_pl.report.defended import DefenceTable
from ptst_pl.report.defended_table import defence_tables
from ptst_pl.report.discover import Found, find_runs
from ptst_pl.report.headline import brief_table, headline
from ptst_pl.report.matrix import category_table, paired_table, train_test_tables
from ptst_pl.report.serving import separations
from ptst_pl.results.arguments import Parser
from ptst_pl.results.visible_text import visible


def main(argv: Sequence[str]) -> None:
    """Print the tables; with ``--html``, ``--out`` and ``--figure`` write files."""
    options = _options(argv[1:])
    found = find_runs(options.runs)
    if options.brief:
        _print_brief(found)
    else:
        _print_tables(found, options.categories)
    if options.figure:
        from ptst_pl.report.curves import draw_curves

        draw_curves(found.runs, options.figure)
        print(visible(f"\ncurves: {options.figure}", lines=True))
    if options.html or options.out:
        _write(found, options, "ptst_pl " + shlex.join(argv))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="ptst_pl report", description="Tables, figures and one HTML page from result files.")
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN",
        help="run or results folder, or a sweep: a folder of runs; checkpoints/NAME means its newest",
    )  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the page, figures as PNG and SVG, CSV, Markdown and LaTeX"
    )
    parser.add_argument("--figure", type=Path, metavar="FILE", help="write the curves as .png or .svg")
    parser.add_argument("--brief", action="store_true", help="one table and one sentence")
    parser.add_argument("--categories", action="store_true", help="also the rates of each category of a suite")
    options = parser.parse_args(argv)
    if options.figure and options.figure.suffix not in (".png", ".svg"):
        raise InputError(f"report: --figure {options.figure}: expected a name ending in .png or .svg")
    if options.html and (options.html.suffix != ".html" or options.html.is_dir()):
        raise InputError(f"report: --html {options.html}: expected a file name ending in .html")
    if options.out and options.out.exists() and not options.out.is_dir():
        raise InputError(f"report: --out {options.out} is a file, expected a folder")
    return options


def _print_brief(found: Found) -> None:
    defended = DefenceTable(found.runs)
    blocks = [brief_table(found.runs), headline(found.runs)] if not defended.any else [defence_tables(defended)]
    blocks += [f"not comparable: {line}" for line in incomparable(found.runs)[:3]]
    print(visible("\n\n".join(filter(None, blocks)), lines=True))


def _print_tables(found: Found, categories: bool) -> None:
    """All that is told at a terminal; nothing in it steers the terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    blocks = [train_test_tables(found.runs), paired_table(found.runs), defence_tables(DefenceTable(found.runs))]
    blocks += ["\n".join(one.words() for one in separations(found.runs))]
    blocks += [category_table(found.runs)] if categories else []
    warnings = [f"not comparable: {line}" for line in incomparable(found.runs)]
    missing = [f"missing: {line}" for line in [*found.missing, *incomplete(found.runs)]]
    blocks += ["\n".join(warnings), "\n".join(missing)]
    print(visible("\n\n".join(filter(None, blocks)), lines=True))


def _write(found: Found, options: argparse.Namespace, command: str) -> None:
    from ptst_pl.report.page import Report
    from ptst_pl.report.write import write_folder, write_html

    report = Report(found.runs, found.missing, command)
    if options.html:
        files = write_html(report, options.html)
        more = f" and {len(files) - 1} more with further answers" if len(files) > 1 else ""
        print(visible(f"\npage: {options.html}{more}", lines=True))
    if options.out:
        files = write_folder(report, options.out)
        print(visible(f"\nreport: {options.out / 'report.html'} ({len(files)} files in {options.out})", lines=True))
