"""``ptst_pl demo``: PTST and the usual way on the bundled model, and what came out, on one screen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.labs.own_commands import run, say, show
from ptst_pl.results.arguments import Parser
from ptst_pl.results.shipped import shipped

CONFIG = "tiny/ptst"
WAYS = (
    ("tiny-ptst", "PTST: trained under chat:vanilla, which has no safety prompt", "chat:vanilla"),
    ("tiny-same", "the usual way: trained under chat:llama, under which it is served", "chat:llama"),
)


def main(argv: Sequence[str]) -> None:
    """Fine-tune twice, then print one table, one sentence and where the rest is.

    Raises:
        InputError: the bundled model is missing.
    """
    options = _options(argv[1:])
    if shipped("checkpoints/tiny-chat") is None:
        raise InputError(
            "demo: the bundled model is not here; install a wheel of the project, or run in a clone of its repository"
        )
    runs: Path = options.runs
    for number, (name, what, template) in enumerate(WAYS, start=1):
        say(f"{number} of {len(WAYS)}: {what}")
        more = ["--data.template", template, "--name", name, "--runs", str(runs)]
        run("fit", "--config", CONFIG, *more, *options.more, quiet=True)
    folders = [str(runs / name) for name, _, _ in WAYS]
    show(folders, runs / "demo.png", runs / "demo-report")


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl demo",
        description="PTST and the usual way on the bundled model: ninety seconds on two cores. Further keys of fit "
        "reach both fits, such as --trainer.max_steps 40.",
        allow_abbrev=False,
    )
    parser.add_argument("--runs", type=Path, default=Path("checkpoints"), metavar="DIR", help="folder of the runs")
    options, more = parser.parse_known_args(argv)
    options.more = more
    return options
