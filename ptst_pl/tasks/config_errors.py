"""jsonargparse's messages, shortened to one line: where, what was found, what was expected."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence

from ptst_pl import did_you_mean

_KEY = re.compile(r'^Parser key "(?P<key>[^"]+)": ')
# A wrong value within a class's arguments.
_INNER = re.compile(r"^Problem with given class_path '[^']+': (?=Parser key )")
# In a union with None only the first alternative's complaint is of use.
_UNION = re.compile(
    r"Does not validate against any of the Union subtypes.*?Errors: - (.*?) - Expected a .*$", re.DOTALL
)


def explain(message: str, argv: Sequence[str], known: Iterable[str]) -> str:
    """One line for a user who does not know the parser.

    Args:
        message: what jsonargparse said.
        argv: the command line, to name the config file in the message.
        known: the parser's keys, for "did you mean".
    """
    text = " ".join(message.split())
    text = _UNION.sub(r"\1", text)
    text = re.sub(r"^Call to compute_fn of link .* failed: ", "", text)
    key = m["key"] if (m := _KEY.match(text)) else None
    text = _UNION.sub(r"\1", _KEY.sub("", text))
    if _INNER.match(text):
        text = _INNER.sub("", text)
        key = m["key"] if (m := _KEY.match(text)) else key
        text = _KEY.sub("", text)
    names = list(known)
    for pattern, rewrite in _rewrites(names):
        if match := re.search(pattern, text):
            text = rewrite(match)
            break
    files = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word in ("--config", "-c")]
    files += [word.partition("=")[2] for word in argv if word.startswith("--config=")]
    where = f"{', '.join(files)}: " if files else ""
    return where + (f"key {key!r}: {text}" if key and key != "config" else text)


def _rewrites(names: list[str]) -> list[tuple[str, Callable[[re.Match[str]], str]]]:
    return [
        (r"does not accept option '([^']+)'", lambda m: f"unknown key {m[1]!r}{_hint(m[1], names)}"),
        (r"unrecognized arguments: --?(\S+)", lambda m: f"unknown flag --{m[1]}{_hint(m[1].split('=')[0], names)}"),
        (r"class_path '([^']+)': Option '([^']+)' is not accepted", _unknown_option),
        (r"class_path '([^']+)': the following arguments are required: (.+)", _missing_option),
        (r"the following arguments are required: (?:\w+\.)?(.+)", lambda m: f"key {m[1]!r} is missing"),
        (r"Expected a dot import path string: (\S+)", _unknown_class),
        (r"Expected a (?:typing\.)?Literal\[(.+?)\]\. Got value: None", lambda m: f"missing; expected one of {m[1]}"),
        (r"Expected a (?:typing\.)?Literal\[(.+?)\]\. Got value: (.*)", _expected_one_of),
        (r"Expected an? (?:<class '(\S+)'>|(\S+))\. Got value: (.*)", _expected_type),
        (r"File does not exist: '([^']+)'", lambda m: f"no such file: {m[1]}"),
    ]  # fmt: skip


def _expected_one_of(match: re.Match[str]) -> str:
    return f"expected one of {match[1]}, found {match[2]!r}"


def _expected_type(match: re.Match[str]) -> str:
    return f"expected {match[1] or match[2]}, found {match[3]!r}"


def _hint(word: str, names: list[str]) -> str:
    """The nearest key; a section's name counts, where the mistake is in the section."""
    sections = {name.rsplit(".", 1)[0] for name in names if "." in name}
    head = word.split(".")[0]
    if "." in word and head not in {name.split(".")[0] for name in names}:
        return did_you_mean(head, {name.split(".")[0] for name in names})
    return did_you_mean(word, [*names, *sections])


def _unknown_option(match: re.Match[str]) -> str:
    return f"{match[1].rsplit('.', 1)[-1]} takes no {match[2]!r}{did_you_mean(match[2], _options(match[1]))}"


def _missing_option(match: re.Match[str]) -> str:
    missing = match[2].split(" - ")[0]
    return f"{match[1].rsplit('.', 1)[-1]} needs {missing!r}"


def _unknown_class(match: re.Match[str]) -> str:
    short = [name for module in ("ptst_pl.tasks", "ptst_pl.judges") for name in importlib.import_module(module).__all__]
    return f"unknown class {match[1]!r}{did_you_mean(match[1], short)} (known: {', '.join(short)}, or a class path)"


def _options(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    return [p for base in inspect.getmro(found)[:-1] for p in inspect.signature(base).parameters]
