"""The generation benchmark in this process, and what reads its first table."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import logging

ROOT = Path(__file__).parents[2]
QUICK = ("--quick", "--threads", "1")


def printed_by(*flags: str) -> str:
    """What the script prints, run as a user runs it."""
    found = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/generation.py"), *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        timeout=280,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout


@pytest.fixture
def bench(monkeypatch) -> SimpleNamespace:
    """The script and its modules, in this process; threads and log level are put back."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    # The script's own name is that of this folder.
    spec = importlib.util.spec_from_file_location("benchmark_of_generation", ROOT / "benchmarks/generation.py")
    script = importlib.util.module_from_spec(spec)
    threads, level = torch.get_num_threads(), logging.get_verbosity()
    spec.loader.exec_module(script)
    names = ("ways", "cases", "differences", "limit", "measure", "fit")
    modules = {name: importlib.import_module(f"generation_{name}") for name in names}
    yield SimpleNamespace(main=script.main, script=script, **modules)
    torch.set_num_threads(threads)
    logging.set_verbosity(level)


def ways(printed: str, rows: int) -> dict[str, str]:
    """Rows of the first table, by the beginning of the way's name."""
    found = [line for line in printed.split("\n\n")[0].splitlines() if line.endswith(f" of {rows}")]
    return {line[:6]: line for line in found}
