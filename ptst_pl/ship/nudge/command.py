"""``ptst_pl nudge-train``: a classifier that reads along, from a run's own answers and a judge's verdicts on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.results.arguments import Parser


def main(argv: Sequence[str]) -> None:
    """Write one file."""
    options = _options(argv[1:])
    from ptst_pl.ship.nudge.training import train  # heavy libraries, once the options are right

    train(options)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl nudge-train",
        description="The classifier of the serving defence safenudge, from a run's own answers. Keep suites for "
        "results out of it: name those to train on with --suites.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder (checkpoints/NAME: its newest) or checkpoint")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="file to write")
    parser.add_argument("--results", type=Path, metavar="DIR", help="answers of ptst_pl test; default: the run's own")
    parser.add_argument("--suites", nargs="+", metavar="SUITE", help="only answers to these; default: to all")
    parser.add_argument("--judge", help="whose verdicts; default: the first that looks for harm")
    parser.add_argument("--per-answer", type=int, default=8, metavar="N", help="states of an answer (%(default)s)")
    parser.add_argument("--folds", type=int, default=10, help="%(default)s")
    parser.add_argument("--seed", type=int, default=42, help="%(default)s")
    options = parser.parse_args(argv)
    if options.output.suffix != ".npz":
        raise InputError(f"nudge-train: --output {options.output}, expected a name that ends in .npz")
    if options.per_answer < 1 or options.folds < 2:
        raise InputError("nudge-train: --per-answer must be at least 1 and --folds at least 2")
    return options
