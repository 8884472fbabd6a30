"""Fine-tune chat models under any prompt template and watch their safety while they train.

A dozen names for scripts and notebooks stand here; each is loaded when it is first used, so that commands stay quick.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptst_pl.generation import Decoding
    from ptst_pl.judges.build import build_judge as judge
    from ptst_pl.model import LoraSettings
    from ptst_pl.report.runs import load_run
    from ptst_pl.results.rates_table import rates_table
    from ptst_pl.suites.load import load_suite
    from ptst_pl.tasks import GSM8K, Alpaca, ChatDoctor, JsonLines, Mixture, OpenOrca, Tiny
    from ptst_pl.templates import PromptTemplate, find_template
    from ptst_pl.training.callbacks import SafetyCurve
    from ptst_pl.training.finetuner import FineTuner

__version__ = "0.1.0"

# name -> (module, its name there)
_LIBRARY = {
    "FineTuner": ("ptst_pl.training.finetuner", "FineTuner"),
    "SafetyCurve": ("ptst_pl.training.callbacks", "SafetyCurve"),
    "Decoding": ("ptst_pl.generation", "Decoding"),
    "LoraSettings": ("ptst_pl.model", "LoraSettings"),
    "GSM8K": ("ptst_pl.tasks", "GSM8K"),
    "Alpaca": ("ptst_pl.tasks", "Alpaca"),
    "ChatDoctor": ("ptst_pl.tasks", "ChatDoctor"),
    "OpenOrca": ("ptst_pl.tasks", "OpenOrca"),
    "JsonLines": ("ptst_pl.tasks", "JsonLines"),
    "Mixture": ("ptst_pl.tasks", "Mixture"),
    "Tiny": ("ptst_pl.tasks", "Tiny"),
    "PromptTemplate": ("ptst_pl.templates", "PromptTemplate"),
    "find_template": ("ptst_pl.templates", "find_template"),
    "load_suite": ("ptst_pl.suites.load", "load_suite"),
    "judge": ("ptst_pl.judges.build", "build_judge"),
    "load_run": ("ptst_pl.report.runs", "load_run"),
    "rates_table": ("ptst_pl.results.rates_table", "rates_table"),
}
__all__ = [
    "GSM8K",
    "Alpaca",
    "ChatDoctor",
    "Decoding",
    "FineTuner",
    "InputError",
    "JsonLines",
    "LoraSettings",
    "Mixture",
    "OpenOrca",
    "PromptTemplate",
    "SafetyCurve",
    "Tiny",
    "did_you_mean",
    "find_template",
    "input_error_in",
    "judge",
    "load_run",
    "load_suite",
    "rates_table",
]


def __getattr__(name: str) -> Any:
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _LIBRARY[name]
    return getattr(importlib.import_module(module), there)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY})


class InputError(ValueError):
    """Something the user gave is wrong: a file, a line, a key or a flag.

    The message is one line that says where, what was found, what was expected and what to do.
    The command line prints it without a traceback and exits with status 2.
    """


def input_error_in(error: BaseException | None) -> InputError | None:
    """The line that a constructor raised, out of what a config parser wraps around it; None if there is none."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint such as ``"; did you mean 'chat:llama'?"``, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
