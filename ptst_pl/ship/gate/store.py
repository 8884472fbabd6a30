"""Gates beside the rates that they judged, for the model card: ``gate.json`` in the results folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import write_text

FORMAT = 1
NAME = "gate.json"
_COUNTS = ("judge_version", "k", "n", "unscored")


def add_gate(folder: Path, gate: Mapping[str, Any]) -> Path:
    """Store a gate; an earlier one with the same question is replaced.

    Args:
        folder: a results folder.
        gate: what ``gate --json`` prints.

    Raises:
        InputError: the file there is none of ours.
    """
    others = [old for old in _stored(folder) if _question(old) != _question(gate)]
    text = json.dumps({"format": FORMAT, "gates": [*others, gate]}, indent=1, ensure_ascii=False)
    write_text(folder / NAME, text + "\n")
    return folder / NAME


def read_gates(folder: Path, rates: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The gates of a results folder that judged just these rates, and how many others there are.

    A folder that was judged again since has other counts: what a gate said of the old ones is no longer true.
    """
    known = {_key(record): record for record in rates}
    steps = {int(record["step"]) for record in rates}
    own = [gate for gate in _stored(folder) if gate["step"] in steps]
    fresh = [gate for gate in own if all(_still_true(check, gate["step"], known) for check in gate["checks"])]
    return fresh, len(own) - len(fresh)


def _still_true(check: Mapping[str, Any], step: int, known: Mapping[Any, Mapping[str, Any]]) -> bool:
    record = known.get(_key({**check, "step": step}))
    if record is None:  # a gate that failed for want of this rate
        return check["bound"] is None
    return all(check[name] == record.get(name) for name in _COUNTS)


def _key(record: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return str(record["suite"]), str(record["template"]), str(record["judge"]), int(record["step"])


def _question(gate: Mapping[str, Any]) -> Any:
    asked = [[check[name] for name in ("measures", "suite", "template", "judge", "limit")] for check in gate["checks"]]
    return gate["step"], gate["confidence"], gate.get("relative_to"), asked


def _stored(folder: Path) -> list[Mapping[str, Any]]:
    file = folder / NAME
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise InputError(f"{file}: format {found['format']!r}, expected {FORMAT}")
        gates: list[Mapping[str, Any]] = list(found["gates"])
        for gate in gates:
            _question(gate)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: no file of gates ({error!r}); delete it, and run 'gate --write' again") from error
    return gates
