"""The command line: Lightning's fit, validate, test and predict, and a literal dict of the others.

Nothing heavy is imported before a command is known, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from ptst_pl import InputError, __version__, did_you_mean
from ptst_pl.results.shipped import with_shipped_configs

# command -> (module with a function main(argv), one line of help)
COMMANDS = {
    "fit": ("ptst_pl.training.command", "fine-tune under a template and draw the safety curve"),
    "validate": ("ptst_pl.training.command", "held-out loss under the training template"),
    "test": ("ptst_pl.training.command", "evaluate a checkpoint under any test templates"),
    "predict": ("ptst_pl.training.command", "answer a file of prompts under one template"),
    "demo": ("ptst_pl.labs.tiny.demo_command", "both ways on the bundled model: one table, one sentence, a page"),
    "init": ("ptst_pl.planning.init_command", "write a config for your own model and data"),
    "plan": ("ptst_pl.planning.command", "parameters, tokens, memory and hours of a fit, without loading weights"),
    "audit": ("ptst_pl.training.audit.command", "rows that do not belong: encodings, odd formats, evaluation prompts"),
    "sweep": ("ptst_pl.sweep.command", "fit every combination of some keys; skips what is finished"),
    "show": ("ptst_pl.tokenization.show_command", "show a rendered row, its tokens and which of them are trained on"),
    "report": ("ptst_pl.report.command", "train x test table and safety curves of finished runs"),
    "compare": ("ptst_pl.report.paper.command", "results beside the numbers that the paper prints"),
    "gate": ("ptst_pl.ship.gate.command", "pass or fail for pipelines: is the model proved to keep its limits?"),
    "judge": ("ptst_pl.judges.stored.judge_command", "add the verdicts of another judge to stored answers"),
    "agree": ("ptst_pl.judges.stored.agree_command", "how judges agree on the same answers, and where they differ"),
    "sample": ("ptst_pl.judges.stored.sample_command", "a sheet of answers for a person to label"),
    "export-chat": ("ptst_pl.ship.finetuning_api.export_command", "training rows as a file for a fine-tuning API"),
    "finetune-api": ("ptst_pl.ship.finetuning_api.command", "fine-tuning jobs on a server with OpenAI's routes"),
    "export": ("ptst_pl.ship.export.command", "a run as a Hugging Face folder with a model card, ready to serve"),
    "edit": (
        "ptst_pl.ship.edits.command",
        "edited weights from an aligned and a fine-tuned model: interpolation and others",
    ),
    "nudge-train": (
        "ptst_pl.ship.nudge.command",
        "the classifier of the serving defence safenudge, from a run's answers",
    ),
    "tiny": ("ptst_pl.labs.tiny.command", "the tiny lab: its untrained model, its bundled form, sample rows"),
    "pcfg": ("ptst_pl.labs.pcfg.command", "the testbed of grammars: exact harm, three objectives, a look inside"),
    "real": ("ptst_pl.labs.real.command", "both ways on a real language model of 135 M parameters"),
    "defences": ("ptst_pl.defences.command", "list the defences; run them all on the tiny lab; find safety layers"),
    "templates": ("ptst_pl.templates.command", "list the prompt templates"),
    "suites": ("ptst_pl.suites.command", "list the known prompt suites; check a file of one"),
}

USAGE = """usage: ptst_pl <command> [options]

Fine-tune chat models under any prompt template and watch their safety while they train.

commands:
{commands}

'ptst_pl <command> --help' lists a command's options. Start with: ptst_pl demo, then ptst_pl init
"""


def usage() -> str:
    """The top-level help."""
    return USAGE.format(commands="\n".join(f"  {name:<12} {line}" for name, (_, line) in COMMANDS.items()))


def _import_from_here() -> None:
    """Judges and suites in a module beside the user are found by the installed script too, not only with ``-m``.

    At the end of the path: a file there hides no library.
    """
    with contextlib.suppress(OSError):  # the folder may be gone
        if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
            sys.path.append(os.getcwd())


def _module_of(arguments: Sequence[str]) -> str:
    """Where a command's ``main`` is; ``test`` of a served model needs no trainer."""
    if arguments[0] == "test" and any(word.startswith("--endpoint") for word in arguments):
        return "ptst_pl.training.served_command"
    return COMMANDS[arguments[0]][0]


def _imported(name: str) -> Any:
    """A command's module. What is imported is never garbage: looking through it again and again takes a second."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        gc.freeze()


def _print_anything() -> None:
    """What a terminal cannot show is escaped; no text of a model, a file or ours is a reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Exits with 2 and one line on bad input, without a traceback."""
    _print_anything()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="")
        return
    if arguments[0] == "--version":
        print(__version__)
        return
    try:
        if arguments[0] not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise InputError(f"unknown command {arguments[0]!r}{did_you_mean(arguments[0], COMMANDS)} (known: {known})")
        _import_from_here()
        _imported(_module_of(arguments)).main(with_shipped_configs(arguments))
    except InputError as error:
        print(f"ptst_pl: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader (head, less) is gone; what it wanted has been written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
