"""Start one of our own commands in its own process, as a user would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(*words: str, quiet: bool = False) -> None:
    """Run a command; its progress and warnings are shown, and of a quiet one nothing else.

    Raises:
        SystemExit: with the command's own status, where it failed.
    """
    done = subprocess.run([sys.executable, "-m", "ptst_pl", *words], stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        raise SystemExit(done.returncode)


def show(folders: Sequence[str], picture: Path, page: Path) -> None:
    """Write the report of some runs, then print what it comes down to, on one screen."""
    run("report", *folders, "--figure", str(picture), "--out", str(page), quiet=True)
    print("\n" * 2, end="", flush=True)
    run("report", *folders, "--brief")
    print(f"\npicture: {picture}\npage:    {page / 'report.html'}", flush=True)


def say(what: str) -> None:
    """What comes next, between the commands' own progress."""
    print(f"\n{what}", file=sys.stderr, flush=True)
