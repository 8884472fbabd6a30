"""``python -m ptst_pl.sweep.start FOLDER``: take a run's lock and become its fit.

The process keeps its number and the lock, so that there is never a moment in which a fit runs and nobody knows of it.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.sweep.folders import RunFolder
from ptst_pl.sweep.locks import take
from ptst_pl.sweep.named_files import changed_since

FIT = "PTST_PL_SWEEP_FIT"  # words in place of ``python -m ptst_pl``, for tests
BUSY = "{path}: {holder} trains this run already; wait for it or end it"
# What other programs say about processes that this fit is none of: it starts its ranks itself.
_FOREIGN = ("SLURM_", "SUBMITIT_", "PMI_", "PMIX_", "PTST_PL_RUN_FOLDER")


def fit_words(run: RunFolder) -> list[str]:
    """The command line of a run's fit; it begins anew where there is no checkpoint yet."""
    program = shlex.split(os.environ.get(FIT, "")) or [sys.executable, "-m", "ptst_pl"]
    return [*program, "fit", "--config", str(run.planned), "--ckpt_path", "last"]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """A fit's environment: as given, but for what is said of other processes."""
    return {name: value for name, value in given.items() if not name.startswith(_FOREIGN)}


def main(argv: Sequence[str]) -> None:
    """Lock, and turn into the fit; nothing to do where another process has finished the run meanwhile."""
    run = RunFolder(Path(argv[0]))
    take(run.lock, BUSY, seconds=10, devices=os.environ.get("CUDA_VISIBLE_DEVICES", ""), inherit=True)
    if run.is_finished():
        return
    if changed := changed_since(run.planned_files()):
        raise InputError(
            f"{run.path} was planned with other rows or prompts: {changed}; put the old file back, or give the sweep "
            "another --name"
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a sweep in the background was started with it ignored
    words = fit_words(run)
    os.execvpe(words[0], words, environment(os.environ))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"ptst_pl: error: {error}", file=sys.stderr)
        sys.exit(2)
