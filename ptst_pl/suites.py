"""Prompt suites: named lists of evaluation prompts, from a local file or the Hugging Face hub.

A local file is csv, json (a list of objects) or jsonl. One raw row of DirectHarm4 on the hub::

    {"instruction": "<a request>", "category": "malware"}
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ptst_pl.errors import InputError, did_you_mean
from ptst_pl.records import read_lines
from ptst_pl.tiny import stages as tiny

Measures = Literal["asr", "over-refusal", "helpfulness"]
PROMPT_COLUMNS = ("prompt", "instruction", "goal", "question", "behavior", "forbidden_prompt")
CATEGORY_COLUMNS = ("category", "type", "semanticcategory")
REFERENCE_COLUMNS = ("answer", "reference")
ID_COLUMNS = ("id", "prompt_id", "behaviorid")


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt; ``reference`` is the right answer where helpfulness is measured."""

    id: str
    text: str
    category: str = ""
    reference: str | None = None


@dataclass(frozen=True)
class PromptSuite:
    """A named list of evaluation prompts and what it measures."""

    name: str
    prompts: tuple[Prompt, ...]
    measures: Measures = "asr"

    @property
    def sha256(self) -> str:
        """Hash of the prompts' texts, categories and references, in order."""
        rows = [[p.text, p.category] + ([] if p.reference is None else [p.reference]) for p in self.prompts]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


@dataclass
class SuiteSpec:
    """Where a suite comes from, as written in a config.

    Attributes:
        name: a known suite (``advbench``, ``directharm4``) or, with ``path``, any name.
        path: local csv, json or jsonl file; without it a known suite comes from the hub.
        limit: take this many prompts, stratified by category and the same ones every time.
        prompt_column: column of the prompt, where the usual names do not fit.
        category_column: column of the category, likewise.
        reference_column: column of the right answer, for ``helpfulness``.
        measures: ``asr``; ``over-refusal`` for safe prompts; ``helpfulness`` for a task's questions.
    """

    name: str
    path: str | None = None
    limit: int | None = None
    prompt_column: str | None = None
    category_column: str | None = None
    reference_column: str | None = None
    measures: Measures = "asr"


def suite_spec(mapping: Mapping[str, Any]) -> SuiteSpec:
    """A suite as written in a config.

    Raises:
        InputError: an unknown key, no name, or a value of the wrong kind.
    """
    allowed = {field.name: field.type for field in fields(SuiteSpec)}
    for key, value in mapping.items():
        if key not in allowed:
            raise InputError(f"suite {mapping.get('name')!r}: unknown key {key!r}{did_you_mean(key, allowed)}")
        wanted = int if key == "limit" else str
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise InputError(f"suite {mapping.get('name')!r}: {key} is {value!r}, expected {wanted.__name__}")
    if not mapping.get("name"):
        raise InputError(f"suite {dict(mapping)}: key 'name' is missing")
    spec = SuiteSpec(**mapping)
    if spec.measures not in get_args(Measures):
        known = ", ".join(get_args(Measures))
        raise InputError(f"suite {spec.name!r}: measures is {spec.measures!r}, expected one of {known}")
    return spec


@dataclass(frozen=True)
class HubSet:
    """Where a known suite lives on the hub, and how many prompts it has."""

    repository: str
    split: str
    size: int


KNOWN_SUITES = {
    # 520 "harmful behaviors" of Zou et al. 2023; the paper uses all of them.
    "advbench": HubSet("walledai/AdvBench", "train", 520),
    # 100 each of malware, drug, phishing, disinfo; Lyu et al. 2024.
    "directharm4": HubSet("vfleaking/DirectHarm4", "test", 400),
}


def load_suite(spec: SuiteSpec) -> PromptSuite:
    """Read, check and cut a suite.

    Raises:
        InputError: unknown name, missing or unreadable file or column, empty prompt, duplicate id,
            or no prompt at all.
    """
    rows = _read_file(Path(spec.path)) if spec.path else _read_known(spec.name)
    where = spec.path or spec.name
    prompts = _to_prompts(rows, spec, where)
    if not prompts:
        raise InputError(f"suite {spec.name!r}: {where} holds no prompt")
    if spec.limit is not None:
        prompts = stratified(prompts, spec.limit)
    return PromptSuite(spec.name, tuple(prompts), spec.measures)


@dataclass(frozen=True)
class _Columns:
    """Which column of a file holds what."""

    prompt: str
    category: str | None
    reference: str | None
    id: str | None


def _find_columns(rows: Sequence[dict[str, Any]], spec: SuiteSpec, where: str) -> _Columns:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    wanted = {
        "prompt_column": (spec.prompt_column, PROMPT_COLUMNS),
        "category_column": (spec.category_column, CATEGORY_COLUMNS),
        "reference_column": (spec.reference_column, REFERENCE_COLUMNS),
    }
    found = {key: _column(columns, own, usual) for key, (own, usual) in wanted.items()}
    needed = {"prompt_column"} | ({"reference_column"} if spec.measures == "helpfulness" else set())
    for key, (own, usual) in wanted.items():
        if found[key] is None and (own or key in needed):
            names = own or " or ".join(usual)
            raise InputError(f"{where}: no column {names} among {', '.join(columns)}; name it with {key}")
    prompt = found["prompt_column"]
    assert prompt is not None
    return _Columns(prompt, found["category_column"], found["reference_column"], _column(columns, None, ID_COLUMNS))


def _to_prompts(rows: Sequence[dict[str, Any]], spec: SuiteSpec, where: str) -> list[Prompt]:
    if not rows:
        return []
    columns = _find_columns(rows, spec, where)
    prompts = [
        _to_prompt(row, f"{spec.name}-{number:04d}", columns, f"{where} row {number}")
        for number, row in enumerate(rows, 1)
    ]
    seen: dict[str, int] = {}
    for number, prompt in enumerate(prompts, 1):
        if prompt.id in seen:
            first = seen[prompt.id]
            raise InputError(f"{where} row {number}: id {prompt.id!r} stands in row {first} too; ids must be unique")
        seen[prompt.id] = number
    return prompts


def _to_prompt(row: dict[str, Any], number: str, columns: _Columns, where: str) -> Prompt:
    text = row.get(columns.prompt)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}: column {columns.prompt!r} is empty or no text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{where}: column {columns.prompt!r} holds a lone surrogate, which is no Unicode text")
    return Prompt(
        id=_cell(row, columns.id) or number,
        text=text,
        category=_cell(row, columns.category) or "",
        reference=_cell(row, columns.reference),
    )


def _cell(row: dict[str, Any], column: str | None) -> str | None:
    """A cell as text; None where the column, the cell or its content is missing."""
    value = row.get(column) if column else None
    return None if value in (None, "") else str(value)


def _column(columns: Iterable[str], wanted: str | None, usual: Sequence[str]) -> str | None:
    if wanted:
        return wanted if wanted in columns else None
    lowered = {column.strip().lower(): column for column in reversed(list(columns))}
    return next((lowered[name] for name in usual if name in lowered), None)


def _read_file(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"suite file {path} does not exist")
    ending = path.suffix.lower()
    if ending == ".jsonl":
        return list(read_lines(path))
    if ending not in (".csv", ".json"):
        raise InputError(f"suite file {path}: ending {path.suffix!r}, expected .csv, .json or .jsonl")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    return _parse_csv(path, text) if ending == ".csv" else _parse_json(path, text)


def _parse_json(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: no JSON ({error.msg})") from error
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise InputError(f"{path}: expected a JSON list of objects")
    return value


def _parse_csv(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path}: no csv that can be read ({error})") from error
    if not rows:
        return []
    head = [cell.strip() for cell in rows[0]]
    usual = {*PROMPT_COLUMNS, *CATEGORY_COLUMNS, *ID_COLUMNS}
    # The paper's AdvBench file has one column and no header: its first line is a prompt.
    if len(head) == 1 and head[0].lower() not in usual and len(head[0].split()) > 1:
        return [{"prompt": row[0]} for row in rows]
    for name in head:
        if name and head.count(name) > 1:
            raise InputError(f"{path}: column {name!r} stands twice in the header")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise InputError(f"{path} record {number}: {len(row)} fields, expected {len(head)} ({', '.join(head)})")
    return [dict(zip(head, row, strict=True)) for row in rows[1:]]


def _read_known(name: str) -> Sequence[dict[str, Any]]:
    if name in tiny.SUITES:
        return tiny.suite_rows(name)
    if name not in KNOWN_SUITES:
        known = [*KNOWN_SUITES, *tiny.SUITES]
        raise InputError(
            f"unknown suite {name!r}{did_you_mean(name, known)} (known: {', '.join(known)}); "
            "for a file of your own give its path"
        )
    return read_hub(KNOWN_SUITES[name].repository, None, KNOWN_SUITES[name].split)


def read_hub(repository: str, subset: str | None, split: str) -> list[dict[str, Any]]:
    """All rows of one split of a hub data set.

    Raises:
        InputError: it cannot be had: no network, no access, no such set.
    """
    import datasets  # heavy, and not needed for local files

    try:
        return [dict(row) for row in datasets.load_dataset(repository, subset, split=split)]
    except Exception as error:  # the hub client raises many kinds; all mean "not to be had"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"data set {repository!r} ({split}) cannot be had from the hub ({reason}); give a local file instead"
        ) from error


def stratified(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """``limit`` prompts, shared over categories in proportion, the same ones on every machine.

    Within a category the prompts with the smallest hash of their text are taken, so the choice
    depends on nothing else; the file's order is kept.

    Raises:
        InputError: a limit below one.
    """
    if limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1")
    if limit >= len(prompts):
        return list(prompts)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[prompt.category].append(index)
    shares = _shares({name: len(members) for name, members in groups.items()}, limit)
    chosen: list[int] = []
    for name, members in groups.items():
        ranked = sorted(members, key=lambda i: (hashlib.sha256(prompts[i].text.encode("utf-8", "replace")).digest(), i))
        chosen += ranked[: shares[name]]
    return [prompts[index] for index in sorted(chosen)]


def _shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """Largest-remainder shares of ``limit``; ties go to the category that comes first."""
    total = sum(sizes.values())
    shares = {name: limit * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: -(limit * sizes[name] % total))
    for name in by_remainder[: limit - sum(shares.values())]:
        shares[name] += 1
    return shares
