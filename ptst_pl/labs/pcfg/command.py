"""``ptst_pl pcfg``: the testbed from its untrained model to its three findings.

Its fits are sweeps, which skip what is finished and go on with what was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ptst_pl.labs.own_commands import run, say
from ptst_pl.labs.pcfg.findings import OBJECTIVES, lines
from ptst_pl.results.arguments import Parser

BORDERLINE = json.dumps([{"name": "pcfg-borderline"}])


def main(argv: Sequence[str]) -> None:
    """Run ``pcfg base``, ``pcfg run`` or ``pcfg findings``."""
    parser = Parser(prog="ptst_pl pcfg", description="The testbed of grammars, docs/testbed.md.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    base = commands.add_parser("base", help="write the untrained model: configuration and tokenizer")
    base.add_argument("folder", type=Path)
    for name, what in (
        ("run", "pre-train, tune for safety in three ways, fine-tune in two, print what was found"),
        ("findings", "print it again"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--runs", type=Path, default=Path("checkpoints/pcfg"), metavar="DIR", help="%(default)s")
        command.add_argument(
            "--seeds", type=int, nargs="+", default=[1], help="of safety tuning and fine-tuning (%(default)s)"
        )
    options, more = parser.parse_known_args(argv[1:])
    if more and options.command != "run":
        parser.error(f"unknown option {more[0]!r}; keys of fit are for 'ptst_pl pcfg run'")
    if options.command == "base":
        _write_base(options.folder)
        return
    if options.command == "run":
        _run(options.runs.resolve(), options.seeds, more)
    print("\n".join(lines(options.runs.resolve(), options.seeds)), flush=True)


def _write_base(folder: Path) -> None:
    from ptst_pl.labs.pcfg.model import write_base  # heavy libraries

    write_base(folder)


def _run(runs: Path, seeds: Sequence[int], more: Sequence[str]) -> None:
    """Every stage that is not done yet."""
    count = 1 + len(OBJECTIVES) * (1 + len(seeds))
    base = runs / "base"
    if not (base / "config.json").is_file():
        _write_base(base)
    say(f"1 of {count}: pre-training, which answers every request")
    _sweep("pretrain", "pretrain", runs, base, {"seed_everything": [1]}, more)
    start = runs / "pretrain/seed=1/version_0/model"
    done = 1
    for name, what in OBJECTIVES.items():
        done += 1
        say(f"{done} of {count}: safety tuning, {what}")
        _sweep(name, name, runs, start, {"seed_everything": list(seeds)}, more)
        for seed in seeds:
            done += 1
            say(f"{done} of {count}: from there, seed {seed}: borderline requests, and the harmless task both ways")
            tuned = runs / name / f"seed={seed}/version_0/model"
            results = runs / f"borderline/{name}-{seed}"
            asked = ["--safety.suites", BORDERLINE, "--results", str(results)]
            run("test", "--config", f"pcfg/{name}", "--model.pretrained", str(tuned), *asked, *more, quiet=True)
            both = {"data.template": ["text:a", "text:safe"]}
            _sweep("finetune", f"finetune-{name}-{seed}", runs, tuned, both, ["--seed_everything", str(seed), *more])


def _sweep(
    config: str, name: str, runs: Path, model: Path, over: dict[str, list[str]] | dict[str, list[int]],
    more: Sequence[str],
) -> None:  # fmt: skip
    swept = [word for key, values in over.items() for word in ("--over", f"{key}={json.dumps(values)}")]
    run(
        "sweep", "--config", f"pcfg/{config}", "--jobs", "1", "--name", name, "--runs", str(runs), *swept,
        "--model.pretrained", str(model), *more, quiet=True,
    )  # fmt: skip
