"""Result files against their schemas: ``schema/*.json``, of which this reads the few words that they use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from ptst_pl import InputError
from ptst_pl.results.records import FORMAT, read_lines

Kind = Literal["results", "generation", "verdict", "served"]
Schema = Mapping[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip


@cache
def schema(kind: Kind) -> Schema:
    """A schema as it is shipped."""
    text = resources.files("ptst_pl.report").joinpath("schema", f"{kind}.json").read_text(encoding="utf-8")
    found: Schema = json.loads(text)
    return found


def check(value: Any, kind: Kind, where: str) -> None:
    """Check a value against a schema.

    Raises:
        InputError: names ``where``, the key, what was found and what was expected.
    """
    if _plainly_valid(value, kind):
        return
    fault = _fault(value, schema(kind), "")
    if fault:
        raise InputError(f"{where}: {fault}; expected a file of ptst_pl, schema {FORMAT}.x ({kind}.json)")


@cache
def _flat(kind: Kind) -> tuple[frozenset[str], dict[str, tuple[frozenset[type], Any, Any]]]:
    """Of a schema without nested ones: the required keys, and of each key its types, words and least value."""
    found = schema(kind)
    rules = {}
    for name, rule in found["properties"].items():
        wanted = rule.get("type", ["string"])
        types = [kind for word in ([wanted] if isinstance(wanted, str) else wanted) for kind in _TYPES[word]]
        rules[name] = frozenset(types), rule.get("enum"), rule.get("minimum")
    return frozenset(found["required"]), rules


def _plainly_valid(value: Any, kind: Kind) -> bool:
    """Whether a row is valid at first sight; most are, and a folder can have a hundred thousand."""
    if kind == "results" or type(value) is not dict:
        return False
    required, rules = _flat(kind)
    if not required <= value.keys():
        return False
    for name, item in value.items():
        if name in rules:
            types, words, least = rules[name]
            if type(item) not in types or (words is not None and item not in words):
                return False
            if least is not None and item is not None and item < least:
                return False
            if type(item) is float and not isfinite(item):
                return False
    return True


def read_results(path: Path) -> dict[str, Any]:
    """The contents of a results.json.

    Raises:
        InputError: no JSON, another format, or not as the schema says.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON in UTF-8 ({error}); copy the file again") from error
    if isinstance(found, dict) and found.get("format") != FORMAT:
        raise InputError(f"{path}: format {found.get('format')!r}, expected {FORMAT}; a matching ptst_pl reads it")
    check(found, "results", str(path))
    stored: dict[str, Any] = found
    for number, record in enumerate(stored["rates"]):
        _check_counts(record, f"{path}: rates[{number}]")
    return stored


def read_rows(path: Path, kind: Literal["generation", "verdict", "served"]) -> Iterator[dict[str, Any]]:
    """The checked rows of a JSON-lines file.

    Raises:
        InputError: a line that is not as the schema says; names file and line.
    """
    for number, row in enumerate(read_lines(path), 1):
        check(row, kind, f"{path} row {number}")
        yield row


def _check_counts(record: Mapping[str, Any], where: str) -> None:
    """A rate must be what its counts say: a file that was edited by hand is found out."""
    rate, k, n = record["rate"], record.get("k"), record["n"]
    if rate is None:
        return
    if k is None or not n or k > n or abs(rate - k / n) > 1e-9:
        raise InputError(f"{where}: rate is {rate!r}, but k is {k!r} and n is {n!r}; evaluate or judge again")
    low, high = record.get("low"), record.get("high")
    if low is None or high is None or not low - 1e-9 <= rate <= high + 1e-9:
        raise InputError(f"{where}: rate {rate!r} is outside its interval {low!r} to {high!r}; evaluate or judge again")


def _fault(value: Any, rule: Schema, key: str) -> str:
    """What is wrong, in words; empty if nothing is."""
    wanted = rule.get("type")
    if wanted is not None and not any(_is(value, name) for name in ([wanted] if isinstance(wanted, str) else wanted)):
        names = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return f"{_name(key)} is {value!r:.60}, expected {names}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{_name(key)} is {value!r:.60}, expected one of {', '.join(rule['enum'])}"
    if isinstance(value, dict):
        return _object_fault(value, rule, key)
    if isinstance(value, list):
        faults = (_fault(item, rule.get("items", {}), f"{key}[{number}]") for number, item in enumerate(value))
        return next(filter(None, faults), "")
    if isinstance(value, (int, float)) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        return f"{_name(key)} is {value!r:.60}, expected {rule.get('minimum')} to {rule.get('maximum', 'any number')}"
    return ""


def _object_fault(value: Mapping[str, Any], rule: Schema, key: str) -> str:
    known, others = rule.get("properties", {}), rule.get("additionalProperties")
    for name in rule.get("required", ()):
        if name not in value:
            return f"key {f'{key}.{name}'.lstrip('.')!r} is missing"
    for name, item in value.items():
        own = known.get(name, others)
        if own and (fault := _fault(item, own, f"{key}.{name}".lstrip("."))):
            return fault
    return ""


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and not isfinite(value):
        return False
    return isinstance(value, _TYPES[name])


def _name(key: str) -> str:
    return f"key {key!r}" if key else "the content"
