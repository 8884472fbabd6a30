"""``ptst_pl real``: the paper's effect on a real language model, from the download to the table.

Its fits are sweeps, which skip what is finished, go on with what was stopped, and refuse what was made otherwise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptst_pl.labs.own_commands import run, say, show
from ptst_pl.labs.real.package import fetch
from ptst_pl.labs.real.prompt_files import write_alignment, write_results_prompts
from ptst_pl.results.arguments import Parser
from ptst_pl.results.runs import versions
from ptst_pl.results.shipped import shipped

BOTH_WAYS = ["chat:vanilla", "chat:llama"]
# Minutes on two quiet cores (docs/real.md): to align, to train once, to answer and judge under one template.
ALIGNING, TRAINING, ANSWERING = 20.0, 2.5, 1.1
ADAPTER = "checkpoints/real-aligned"


def main(argv: Sequence[str]) -> None:
    """Every step that is not done yet, in order.

    Raises:
        InputError: the model or a public set cannot be had.
    """
    options = _options(argv[1:])
    data, runs = options.data.resolve(), options.runs.resolve()
    left = Left(options)
    say(f"1 of 5: the model{left.now()}")
    model = options.model or str(fetch(runs))
    say(f"2 of 5: its alignment{left.now()}")
    adapter = _aligned(options, model, data, runs)
    say(f"3 of 5: what the aligned model answers{left.now(aligned=True)}")
    write_results_prompts(data, runs)
    suites = [
        {"name": "directharm4", "path": f"{data}/directharm4/directHarm4.csv", "limit": 200},
        {"name": "advbench-results", "path": f"{runs}/advbench-results.csv"},
        {"name": "sums", "path": f"{runs}/sums.csv"},
        {"name": "xstest-safe-results", "path": f"{runs}/xstest-results.csv", "measures": "over-refusal"},
    ]
    tested = ["--safety.templates", json.dumps(options.test)] if options.test else []
    same = [
        "--runs", str(runs), "--model.pretrained", model, "--model.adapter", adapter,
        "--data.train_file", f"{data}/gsm8k/train.jsonl", "--data.held_out_file", f"{data}/gsm8k/test.jsonl",
        "--safety.suites", json.dumps(suites), *tested, *options.more,
    ]  # fmt: skip
    aligned = runs / "aligned"
    run("test", "--config", "real/gsm8k", "--name", "aligned", "--results", str(aligned), *same, quiet=True)
    say(f"4 of 5: fine-tuning on GSM8K, {left.fits} times{left.now(aligned=True, tested=True)}")
    over = {"data.template": options.train, "seed_everything": options.seeds}
    _sweep("gsm8k", over, "--safety.at_start", "false", *same)
    say("5 of 5: the report")
    show([str(aligned), str(runs / "gsm8k")], runs / "real.png", runs / "report")
    print("(the page holds the model's answers: it is for your own disk)", flush=True)


class Left:
    """How long the rest of the command takes, as far as nothing of it is done yet."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.fits = len(options.train) * len(options.seeds)
        self._templates = len(options.test or BOTH_WAYS)
        self._aligning = ALIGNING if options.align else 0.0

    def now(self, aligned: bool = False, tested: bool = False) -> str:
        """In words, to be put behind a stage's name."""
        answering = self._templates * ANSWERING
        minutes = self.fits * (TRAINING + answering)
        minutes += 0.0 if tested else answering
        minutes += 0.0 if aligned else self._aligning
        return f" (about {minutes:.0f} minutes left on two quiet cores, less what is done already)"


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
    parser.add_argument("--train", nargs="+", default=BOTH_WAYS, metavar="TEMPLATE", help="default: both ways")
    parser.add_argument("--test", nargs="+", metavar="TEMPLATE", help="test templates; default: the config's")
    options, more = parser.parse_known_args(argv)
    options.more = more
    return options


def _aligned(options: argparse.Namespace, model: str, data: Path, runs: Path) -> str:
    """The alignment's adapter: the shipped one, or a new one."""
    found = shipped(ADAPTER)
    if found is not None and not options.align:
        return str(found)
    write_alignment(data, runs)
    suites = [
        {"name": "develop", "path": f"{runs}/develop.csv"},
        {"name": "xstest-develop", "path": f"{runs}/xstest-develop.csv", "measures": "over-refusal"},
    ]
    _sweep(
        "align", {"seed_everything": [42]}, "--runs", str(runs), "--model.pretrained", model,
        "--data.train_file", str(runs / "align.jsonl"), "--safety.suites", json.dumps(suites), *options.more,
    )  # fmt: skip
    (made,) = (path for path in (runs / "align").iterdir() if versions(path))
    return str(versions(made)[-1] / "adapter")


def _sweep(config: str, over: dict[str, list[Any]], *words: str) -> None:
    swept = [word for key, values in over.items() for word in ("--over", f"{key}={json.dumps(values)}")]
    run("sweep", "--config", f"real/{config}", "--jobs", "1", *swept, *words)
