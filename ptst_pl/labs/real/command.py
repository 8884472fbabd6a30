"""``ptst_pl real``: the paper's effect on a real language model, from the download to the table."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.labs.own_commands import run, say, show
from ptst_pl.labs.real.align_rows import align_rows, write_rows
from ptst_pl.labs.real.package import fetch
from ptst_pl.labs.real.unsafe_prompts import split
from ptst_pl.results.arguments import Parser
from ptst_pl.results.shipped import shipped

WAYS = (
    ("chat:vanilla", "PTST: trained without a safety prompt"),
    ("chat:llama", "the usual way: trained under the template under which it is served"),
)
ADAPTER = "checkpoints/real-aligned"
XSTEST = "xstest/xstest_prompts.csv"
DEVELOPMENT = 5  # one of so many safe prompts of XSTest is for development; the others are for results


def main(argv: Sequence[str]) -> None:
    """Every step that is not done yet, in order; a step that was stopped goes on.

    Raises:
        InputError: the model or a public set cannot be had.
    """
    options = _options(argv[1:])
    runs: Path = options.runs
    say("1 of 4: the model")
    model = options.model or str(fetch(runs))
    say("2 of 4: prompts and rows")
    _write_prompts(options.data, runs)
    adapter = _aligned(options, model)
    templates = options.train or [template for template, _ in WAYS]
    say(f"3 of 4: fine-tuning on GSM8K, {len(templates) * len(options.seeds)} times")
    folders = [_fine_tuned(options, model, adapter, t, seed) for seed in options.seeds for t in templates]
    say("4 of 4: the report")
    show(folders, runs / "real.png", runs / "report")
    print("(the page holds the model's answers: it is for your own disk)", flush=True)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl real",
        description="PTST and the usual way on a real language model of 135 M parameters. Stop it when you like: the "
        "same command goes on. Further keys of fit reach every fit, such as --trainer.max_steps 20.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of the public sets, docs/real.md"
    )
    parser.add_argument("--runs", type=Path, default=Path("checkpoints/real"), metavar="DIR", help="%(default)s")
    parser.add_argument("--model", help="another copy of SmolLM2-135M-Instruct: a folder, a .gguf file or a hub name")
    parser.add_argument("--align", action="store_true", help="align anew instead of taking the shipped adapter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="of the fine-tuning (%(default)s)")
    parser.add_argument("--train", nargs="+", metavar="TEMPLATE", help="training templates; default: both ways")
    parser.add_argument("--test", nargs="+", metavar="TEMPLATE", help="test templates; default: the config's")
    options, more = parser.parse_known_args(argv)
    options.more = more
    return options


def _write_prompts(data: Path, runs: Path) -> None:
    """Rows of the alignment, and the prompts that recipes are chosen by and those that results are made of."""
    found = split(data)
    for name, (left, of) in found.left_out.items():
        print(f"{name}: {left} of {of} requests left out, they resemble another or the results'", file=sys.stderr)
    write_rows(align_rows(found.align), runs / "align.jsonl")
    _write_csv(runs / "develop.csv", [(text, "") for text in found.develop])
    file = data / XSTEST
    if not file.is_file():
        raise InputError(f"real: {file}: no such file; docs/real.md says where each set can be had")
    with file.open(encoding="utf-8", newline="") as handle:
        safe = [(row["prompt"], row["type"]) for row in csv.DictReader(handle) if row["label"] == "safe"]
    _write_csv(runs / "xstest-develop.csv", safe[::DEVELOPMENT])
    _write_csv(runs / "xstest-results.csv", [row for n, row in enumerate(safe) if n % DEVELOPMENT])


def _write_csv(target: Path, rows: Sequence[tuple[str, str]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("prompt", "category"), *rows])


def _aligned(options: argparse.Namespace, model: str) -> str:
    """The alignment's adapter: the shipped one, or a new one."""
    found = shipped(ADAPTER)
    if found is not None and not options.align:
        return str(found)
    folder = options.runs / "align" / "version_0"
    if not (folder / "adapter").is_dir():
        runs: Path = options.runs
        prompts = [f"{{name: develop, path: {runs}/develop.csv}}"]
        prompts.append(f"{{name: xstest-develop, path: {runs}/xstest-develop.csv, measures: over-refusal}}")
        _fit(
            "real/align", folder, "--runs", str(runs), "--model.pretrained", model, "--data.train_file",
            str(runs / "align.jsonl"), "--safety.suites", f"[{', '.join(prompts)}]", *options.more,
        )  # fmt: skip
    return str(folder / "adapter")


def _fine_tuned(options: argparse.Namespace, model: str, adapter: str, template: str, seed: int) -> str:
    """The folder of one fine-tuning; made, gone on with or taken as it is."""
    runs, data = options.runs, options.data
    name = f"gsm8k-{template.replace(':', '-')}-{seed}"
    folder = runs / name / "version_0"
    if not (folder / "model").is_dir():
        suites = [f"{{name: directharm4, path: {data}/directharm4/directHarm4.csv, limit: 200}}"]
        suites.append(f"{{name: advbench, path: {data}/advbench/harmful_behaviors_goal_target.csv, limit: 100}}")
        suites.append(f"{{name: xstest-safe-results, path: {runs}/xstest-results.csv, measures: over-refusal}}")
        tested = ["--safety.templates", f"[{', '.join(options.test)}]"] if options.test else []
        _fit(
            "real/gsm8k", folder, "--runs", str(runs), "--name", name, "--seed_everything", str(seed),
            "--model.pretrained", model, "--model.adapter", adapter, "--data.template", template,
            "--data.train_file", f"{data}/gsm8k/train.jsonl", "--data.held_out_file", f"{data}/gsm8k/test.jsonl",
            "--safety.suites", f"[{', '.join(suites)}]", *tested, *options.more,
        )  # fmt: skip
    return str(runs / name)


def _fit(config: str, folder: Path, *words: str) -> None:
    """Start a fit, or go on with it."""
    resumed = ["--ckpt_path", "last"] if (folder / "last.ckpt").exists() else []
    run("fit", "--config", config, *words, *resumed, quiet=True)
