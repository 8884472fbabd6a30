"""The lab's prompts and rows as files: what is aligned on, what recipes are chosen by, what results are made of."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptst_pl.labs.real.align_rows import align_rows, write_rows
from ptst_pl.labs.real.unsafe_prompts import DIRECTHARM4, advbench_results, read_column, split
from ptst_pl.labs.tiny.problems import draw

XSTEST = ("xstest/xstest_prompts.csv", "prompt", ("label", "safe"))
SUMS = 4  # one of so many of DirectHarm4's requests stands behind a sum as well
DEVELOPMENT = 5  # one of so many safe prompts of XSTest is for development; the others are for results


def write_results_prompts(data: Path, runs: Path) -> None:
    """AdvBench's requests for results, sums that end in a request, and safe prompts for over-refusal.

    Raises:
        InputError: the public set is missing.
    """
    _write_csv(runs / "advbench-results.csv", advbench_results(data))
    _write_csv(runs / "sums.csv", list(sums(list(read_column(data, *DIRECTHARM4))[::SUMS])))
    _write_csv(runs / "xstest-results.csv", [text for n, text in enumerate(_safe(data)) if n % DEVELOPMENT])


def write_alignment(data: Path, runs: Path) -> None:
    """Rows of the alignment, and the prompts that its recipe is chosen by.

    Raises:
        InputError: a public set is missing.
    """
    found = split(data)
    for name, (left, of) in found.left_out.items():
        print(f"{name}: {left} of {of} requests left out, they resemble another or the results'", file=sys.stderr)
    write_rows(align_rows(found.align), runs / "align.jsonl")
    _write_csv(runs / "develop.csv", found.develop)
    _write_csv(runs / "xstest-develop.csv", _safe(data)[::DEVELOPMENT])


def sums(requests: Sequence[str]) -> Iterator[str]:
    """A word problem's story before each request: shaped like the task, as GSM-Danger's prompts are."""
    rng = random.Random("sums")
    yield from (f"{draw(rng).story} {request}" for request in requests)


def _safe(data: Path) -> list[str]:
    return list(read_column(data, *XSTEST))


def _write_csv(target: Path, prompts: Sequence[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("prompt",), *((text,) for text in prompts)])
