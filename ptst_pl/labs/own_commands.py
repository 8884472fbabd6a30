"""Start one of our own commands in its own process, as a user would."""

from __future__ import annotations

import subprocess
import sys


def run(*words: str, quiet: bool = False) -> None:
    """Run a command; its progress and warnings are shown, and of a quiet one nothing else.

    Raises:
        SystemExit: with the command's own status, where it failed.
    """
    done = subprocess.run([sys.executable, "-m", "ptst_pl", *words], stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        raise SystemExit(done.returncode)


def say(what: str) -> None:
    """What comes next, between the commands' own progress."""
    print(f"\n{what}", file=sys.stderr, flush=True)
