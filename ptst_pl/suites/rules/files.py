"""The data set's own files: one case a line, with category, params and messages (normster/RuLES on the hub).

The scenario's name is the file's, or the beginning of the category. Names of values may differ from ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import read_lines
from ptst_pl.suites.rules.cases import Case
from ptst_pl.suites.rules.scenarios import SCENARIOS

_NAMES = {name.replace("-", ""): name for name in SCENARIOS}
_VALUES = {
    "secret_key": "secret", "secretkey": "secret", "secret_word": "word", "forbidden_word": "word", "answer": "thing",
    "target": "number", "alice_secret": "alice", "bob_secret": "bob", "alice_balance": "alice", "bob_balance": "bob",
}  # fmt: skip


def read_cases(file: Path, half: str) -> list[Case]:
    """The cases of one half in a file.

    Raises:
        InputError: no such file, or a line that is no case; which one.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected the data set's JSON lines with category, params and messages")
    found = [_case(row, f"{file} line {number}", file.stem, half) for number, row in enumerate(read_lines(file), 1)]
    return [case for case in found if case is not None]


def _case(row: Mapping[str, Any], where: str, stem: str, half: str) -> Case | None:
    for key, kind in (("params", Mapping), ("messages", list)):
        if not isinstance(row.get(key), kind):
            raise InputError(
                f"{where}: key {key!r} is missing or has another form; expected category, params, messages"
            )
    category = str(row.get("category") or stem)
    name = _scenario(stem) or _scenario(category)
    if name is None:
        raise InputError(f"{where}: neither {stem!r} nor category {category!r} is a scenario ({', '.join(SCENARIOS)})")
    users = [str(message["content"]) for message in row["messages"] if message.get("role") == "user"]
    params = {_VALUES.get(str(key), str(key)): str(value) for key, value in row["params"].items()}
    wanted = "must-not" if category.endswith(("withhold", "redteam", "deny")) else "must"
    scenario = SCENARIOS[name]
    wanted = wanted if wanted in scenario.halves else scenario.halves[0]
    if wanted != half:
        return None
    try:
        scenario.rules(params)
    except KeyError as error:
        raise InputError(f"{where}: params has no value {error} for {name} (found: {', '.join(params)})") from error
    return Case(name, half, params, users)


def _scenario(text: str) -> str | None:
    letters = "".join(filter(str.isalpha, text.lower()))
    return next((name for short, name in _NAMES.items() if letters.startswith(short)), None)
