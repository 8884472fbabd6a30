"""Time and memory as the work grows: training rows, evaluation prompts, answers in a report.

    python benchmarks/scale.py [--rows 1000 10000 ...] [--prompts 100 1000 ...] [--answers 2000 20000 ...] [--save]

The bundled model, through the command line, every command in a process of its own. Rows: a fit of one step on a file of
so many rows, first and second start; the second finds the rows that the first has encoded, where the file is large.
Prompts: ``test`` on a suite of so many, up to 16 tokens an answer. Answers: ``report`` of a run with so many stored
answers and verdicts. Memory is the process's largest resident size. Writes the section ``scale`` of ``latest.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from latest import update

from ptst_pl.judges.base import summarise
from ptst_pl.results.rates_table import grid
from ptst_pl.results.records import Generation, ResultsFolder, Verdict
from ptst_pl.results.runs import new_version

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "checkpoints/tiny-chat"
WORDS = ["bread", "soup", "kite", "lamp", "garden", "boat", "chair", "clock", "river", "stone", "window", "basket"]


class Cost(NamedTuple):
    """Seconds and MB of a command."""

    seconds: float
    megabytes: int


def cost(folder: Path, *words: str) -> Cost:
    """Of one command of the command line.

    Raises:
        SystemExit: it failed.
    """
    environment = os.environ | {"PTST_PL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "ptst_pl", *words], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return Cost(time.perf_counter() - start, usage.ru_maxrss // 1024)


def rows(folder: Path, count: int) -> list[Cost]:
    """First and second start of a fit."""
    file = folder / f"rows-{count}.jsonl"
    with file.open("w") as handle:
        for n in range(count):
            thing, other = WORDS[n % 12], WORDS[n // 12 % 12]
            answer = f"Step 1: get the {thing}. Step 2: put it beside the {other}. Step 3: count to {n}. " * 4
            handle.write(json.dumps({"prompt": f"How do I make a {thing} for {n} people?", "response": answer}) + "\n")
    words = [
        "fit", "--config", "configs/tiny/ptst.yaml", "--runs", str(folder / "runs"), "--trainer.max_steps", "1",
        "--safety.active", "false", "--data", "JsonLines", "--data.init_args.train_file", str(file),
        "--data.init_args.template", "chat:vanilla", "--trainer.limit_val_batches", "0",
        "--trainer.accumulate_grad_batches", "1", "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
    found = [cost(folder, *words), cost(folder, *words)]
    file.unlink()
    return found


def prompts(folder: Path, count: int) -> Cost:
    """An evaluation under one template."""
    file = folder / "suite.csv"
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["prompt"])
        writer.writerows([f"How do I make a {WORDS[n % 12]} for {n} people?"] for n in range(count))
    suites = f"[{{name: own, path: {file}}}]"
    return cost(
        folder, "test", "--config", "configs/tiny/untouched.yaml", "--runs", str(folder / "runs"),
        "--name", f"prompts-{count}", "--safety.templates", "[chat:llama]", "--safety.suites", suites,
        "--safety.judges", "[refusal]", "--safety.decoding.max_new_tokens", "16",
    )  # fmt: skip


def answers(folder: Path, count: int) -> Cost:
    """A report of one run; a fifth of the answers is of each of five steps."""
    version = new_version(folder / "runs" / f"answers-{count}")
    (version / "config.yaml").write_text("data: {init_args: {template: chat:vanilla}}\n")
    results = ResultsFolder(version / "safety", {"train_template": "chat:vanilla"})
    each, text = count // 10, "Step 1: get the lamp. Step 2: put it beside the river. " * 5
    for step in range(0, 100, 20):
        made, judged = list[Generation](), list[Verdict]()
        for template in ("chat:vanilla", "chat:llama"):
            for n in range(each):
                question = f"How do I make a lamp for {n} people?"
                made.append(Generation("own", str(n), "", question, template, question, text, "stop", step, {}))
                bad = n % 100 < step
                judged.append(Verdict("own", str(n), template, step, "refusal", harmful=bad, refused=not bad))
        results.add(made, judged, summarise(judged), step)
    return cost(folder, "report", str(version), "--out", str(folder / "page"))


def main() -> None:
    """Measure what is asked for, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--prompts", type=int, nargs="*", default=[100, 1000, 20_000])
    parser.add_argument("--answers", type=int, nargs="*", default=[2000, 20_000, 100_000])
    parser.add_argument("--save", action="store_true", help="put the result into benchmarks/latest.json")
    options = parser.parse_args()
    found: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in options.rows:
            first, second = rows(folder, count)
            found |= {f"{count} training rows, first start": first, f"{count} training rows, second start": second}
            print(f"{count} rows: {first.seconds:.1f} s, then {second.seconds:.1f} s", file=sys.stderr)
        for count in options.prompts:
            found[f"{count} evaluation prompts"] = prompts(folder, count)
        for count in options.answers:
            found[f"{count} answers in a report"] = answers(folder, count)
    table: list[list[Any]] = [["what", "seconds", "peak MB"]]
    print(grid(table + [[what, f"{one.seconds:.1f}", str(one.megabytes)] for what, one in found.items()]))
    if options.save:
        update("scale", {what: one._asdict() for what, one in found.items()})


if __name__ == "__main__":
    main()
