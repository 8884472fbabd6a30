"""``ptst_pl defences``: list them, find a model's safety layers, and run them all beside each other on the tiny lab."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.defences.after_training import after_training
from ptst_pl.labs.own_commands import run, say
from ptst_pl.results.arguments import Parser
from ptst_pl.results.rates_table import grid
from ptst_pl.results.shipped import shipped

FOLDER = "configs/defences"
BOTH = ["chat:vanilla", "chat:llama"]


def main(argv: Sequence[str]) -> None:
    """One of the three.

    Raises:
        InputError: an unknown name, or a model or prompts that cannot be read.
    """
    options = _options(argv[1:])
    if options.what == "run":
        run_all(options)
    elif options.what == "layers":
        show_layers(options)
    else:
        print(listing())


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="ptst_pl defences", description="Defences to put beside PTST. docs/defences.md tells of each.")
    what = parser.add_subparsers(dest="what", metavar="")
    what.add_parser("list", help="list them (the default)")
    running = what.add_parser(
        "run", help="all on the tiny lab, as sweeps that go on where they stopped; takes keys of fit as well"
    )
    running.add_argument("--only", nargs="+", metavar="NAME", help="configs of configs/defences, without .yaml")
    running.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="%(default)s")
    running.add_argument("--runs", type=Path, default=Path("checkpoints/defences"), metavar="DIR", help="%(default)s")
    running.add_argument("--training-only", action="store_true", help="no edits and no serving defences")
    running.add_argument("--jobs", type=int, default=1, help="fits at a time (%(default)s)")
    layers = what.add_parser("layers", help="where a model tells unsafe requests from safe ones: SPPFT's layers")
    layers.add_argument("--model", required=True, help="folder or hub name")
    layers.add_argument("--safe", default="tiny-lookalike", metavar="SUITE", help="safe prompts (%(default)s)")
    layers.add_argument("--unsafe", default="tiny-easy", metavar="SUITE", help="unsafe prompts (%(default)s)")
    layers.add_argument("--template", default="chat:vanilla", help="%(default)s")
    layers.add_argument("--chat-format", default="llama2", help="%(default)s")
    layers.add_argument("--limit", type=int, default=60, help="prompts of each kind (%(default)s)")
    options, more = parser.parse_known_args(argv)
    if more and options.what != "run":
        raise InputError(f"defences: unknown option {more[0]!r}; ptst_pl defences --help lists them")
    options.more = more
    return options


def listing() -> str:
    """One line for each: name, kind, needs, source, what it does."""
    from ptst_pl.defences.build import DEFENCES

    lines = []
    for name, (module, kind) in DEFENCES.items():
        made = getattr(importlib.import_module(f"ptst_pl.defences.{module}"), kind)
        title = (made.__doc__ or "").splitlines()[0]
        devices = "one, ddp" if made.whole else "one, ddp, fsdp2"
        lines.append([name, made.kind, ", ".join(made.needs) or "nothing", devices, made.source, title])
    return grid([["name", "kind", "needs", "devices", "source", "what"], *lines])


def configs(only: Sequence[str] | None = None) -> list[Path]:
    """The shipped configs, plain fine-tuning first.

    Raises:
        InputError: one that is not there.
    """
    folder = shipped(FOLDER)
    if folder is None:
        raise InputError(f"defences: {FOLDER} is not here; run in a clone of the repository")
    found = sorted(folder.glob("*.yaml"), key=lambda path: (path.stem not in ("none", "lora"), path.stem))
    known = [path.stem for path in found]
    for name in only or ():
        if name not in known:
            raise InputError(f"defences: no config {name!r} in {folder} (there are: {', '.join(known)})")
    return [path for path in found if not only or path.stem in only]


def run_all(options: argparse.Namespace) -> None:
    """A sweep for each config, then the report of them all."""
    chosen = configs(options.only)
    folders = []
    for number, path in enumerate(chosen, 1):
        say(f"{number} of {len(chosen)}: {path.stem}")
        once = [] if path.stem == "none" else ["--safety.at_start", "false"]  # all start from one model
        run(
            "sweep", "--config", str(path), "--jobs", str(options.jobs), "--runs", str(options.runs),
            "--over", f"data.template={json.dumps(BOTH)}", "--over", f"seed_everything={json.dumps(options.seeds)}",
            *once, *options.more, quiet=True,
        )  # fmt: skip
        folders.append(str(options.runs / f"defence-{path.stem}"))
        if path.stem == "none" and not options.training_only:
            folders += after_training(path, options.runs / "defence-none", options.runs, options.more)
    page = options.runs / "report"
    run("report", *folders, "--out", str(page), quiet=True)
    run("report", *folders, "--brief")
    print(f"\npage: {page / 'report.html'}")


def show_layers(options: argparse.Namespace) -> None:
    """The curve of one model as text."""
    from ptst_pl.defences.sppft import cosine_curve, layer_figure
    from ptst_pl.model import load_model
    from ptst_pl.suites import load_suite, suite_spec
    from ptst_pl.templates import find_template
    from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

    encoder = TemplateTokenizer(load_tokenizer(options.model), options.chat_format)
    template = find_template(options.template)
    safe, unsafe = (
        [encoder.encode_prompt(template, prompt.text) for prompt in load_suite(suite_spec({"name": name})).prompts]
        for name in (options.safe, options.unsafe)
    )
    model = load_model(options.model, "float32")
    gaps = cosine_curve(model, safe[: options.limit], unsafe[: options.limit], encoder.pad_id)
    print(layer_figure(gaps))
