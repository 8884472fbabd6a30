"""What the commands of this room share on the command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from ptst_pl.results.arguments import Parser

FOLDER_HELP = "run folder, or results folder of 'test'; checkpoints/NAME means its newest"


class FolderParser(Parser):
    """A parser whose first argument is the folder that all commands of this room read."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=f"ptst_pl {prog}", description=description, allow_abbrev=False)
        self.add_argument("folder", type=Path, metavar="FOLDER", help=FOLDER_HELP)


def one_line(text: str, width: int) -> str:
    """The start of a text as it can stand in a table: no line breaks, no control characters."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return line if len(line) <= width else line[: width - 3] + "..."


def print_anything() -> None:
    """Answers hold any character; a terminal without it is no reason to stop."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
