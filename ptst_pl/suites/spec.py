"""A suite as it is written in a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from ptst_pl import InputError, did_you_mean
from ptst_pl.suites.known import usual_measures
from ptst_pl.suites.own_class import SuiteSource, build_source
from ptst_pl.suites.prompts import Measures


@dataclass
class SuiteSpec:
    """Where a suite comes from, as written in a config.

    A suite of the user's own module has ``class_path`` and ``init_args`` in place of the file's keys.

    Attributes:
        name: a known suite (``advbench``, ``directharm4``) or, with ``path``, any name.
        path: local csv, tsv, json, jsonl or parquet file; without it a known suite comes from the hub.
        limit: take this many prompts, stratified by category and the same ones every time.
        prompt_column: column of the prompt, where the usual names do not fit.
        category_column: column of the category, likewise.
        reference_column: column of the right answer, for ``helpfulness``.
        header: False for a csv file of one column whose first line is a prompt.
        measures: ``asr``; ``over-refusal`` for safe prompts; ``helpfulness`` for a task's questions. Known
            suites need not be told.
        categories: take these categories only.
        provider: the user's own suite, built from ``class_path``.
    """

    name: str
    path: str | None = None
    limit: int | None = None
    prompt_column: str | None = None
    category_column: str | None = None
    reference_column: str | None = None
    measures: Measures | None = None
    categories: list[str] | None = None
    header: bool | None = None
    provider: SuiteSource | None = None

    def __post_init__(self) -> None:
        if self.measures is None:
            self.measures = self.provider.measures if self.provider else usual_measures(self.name)


_CLASS_KEYS = ("class_path", "init_args")
_WITH_A_CLASS = {*_CLASS_KEYS, "name", "limit", "categories", "measures"}
_KEYS = [field.name for field in fields(SuiteSpec) if field.name != "provider"] + list(_CLASS_KEYS)


def suite_spec(mapping: Mapping[str, Any]) -> SuiteSpec:
    """A suite as written in a config.

    Raises:
        InputError: an unknown key, no name, a value of the wrong kind, or a class that cannot be built.
    """
    shown = f"suite {mapping.get('name') or mapping.get('class_path')!r}"
    for key, value in mapping.items():
        if key not in _KEYS:
            raise InputError(f"{shown}: unknown key {key!r}{did_you_mean(str(key), _KEYS)}")
        _check_kind(key, value, shown)
    values = {key: value for key, value in mapping.items() if key not in _CLASS_KEYS}
    if mapping.get("class_path"):
        if unfit := [key for key in mapping if key not in _WITH_A_CLASS]:
            raise InputError(f"{shown}: {unfit[0]!r} does not go with class_path; it is for files")
        provider = build_source(mapping["class_path"], mapping.get("init_args"))
        values = {"name": provider.name, "provider": provider} | values
    elif mapping.get("init_args") is not None:
        raise InputError(f"{shown}: init_args without class_path")
    if not values.get("name"):
        raise InputError(f"suite {dict(mapping)}: key 'name' is missing")
    name = str(values["name"])
    if "/" in name or "\\" in name or not name.isprintable() or name.startswith(".") or len(name) > 100:
        raise InputError(
            f"suite name {name[:60]!r}: expected a short name without slashes, for it names folders and files; the "
            "file's place belongs into path"
        )
    return SuiteSpec(**values)


_KINDS: dict[str, tuple[type, str]] = {
    "limit": (int, "int"),
    "header": (bool, "true or false"),
    "categories": (list, "a list of categories"),
    "init_args": (Mapping, "a mapping"),
}


def _check_kind(key: str, value: Any, shown: str) -> None:
    if value is None:
        return
    kind, words = _KINDS.get(key, (str, "str"))
    right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    if key == "categories" and right:
        right = all(isinstance(category, str) for category in value)
    if not right:
        raise InputError(f"{shown}: {key} is {value!r}, expected {words}")
    if key == "limit" and value < 1:
        raise InputError(f"{shown}: limit is {value}, expected at least 1")
    if key == "measures" and value not in get_args(Measures):
        raise InputError(f"{shown}: measures is {value!r}, expected one of {', '.join(get_args(Measures))}")
