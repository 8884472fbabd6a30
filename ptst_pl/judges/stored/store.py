"""Stored answers and verdicts of a results folder, and how one judge's verdicts are replaced in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Protocol, TypeVar

from ptst_pl import InputError
from ptst_pl.judges.base import MAX_UNSCORED, Judge, summarise
from ptst_pl.judges.mean_score import SCORE_FIELDS
from ptst_pl.results.records import (
    COUNTED_FIELD,
    FORMAT,
    Generation,
    ResultsFolder,
    Verdict,
    read_lines,
    to_line,
    to_lines,
    write_text,
)
from ptst_pl.results.runs import newest_version

Key = tuple[str, str, str, int]  # suite, prompt id, template, step


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


R = TypeVar("R", bound=_Record)

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "dict[str, Any]": (dict,),
    "str | None": (str, NoneType),
    "bool | None": (bool, NoneType),
    "float | None": (float, int, NoneType),
}


def key_of(record: Generation | Verdict) -> Key:
    """What a generation and the verdicts on it have in common."""
    return record.suite, record.prompt_id, record.template, record.step


def find_results(path: Path) -> ResultsFolder:
    """The results of a run folder (its newest version, below ``safety/``) or of a results folder.

    Raises:
        InputError: there are none, none finished, or of a format that this version does not know.
    """
    run = newest_version(path)
    folder = next((f for f in (run / "safety", run) if (f / "results.json").is_file()), None)
    if folder is None:
        raise InputError(f"{path}: no safety/results.json or results.json; give a run folder of 'fit' or 'test'")
    results = ResultsFolder(folder)
    stored = results.stored()
    if stored.get("format") != FORMAT:
        raise InputError(f"{results.results_file}: format {stored.get('format')!r}, expected {FORMAT}")
    if not stored["rates"]:
        raise InputError(f"{results.results_file}: no rate in it; the run stopped before its first evaluation")
    return results


def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSON-lines file; fields with a default may be missing, as in older files.

    Raises:
        InputError: a missing field, one of another type, or one that this version does not know: what
            a newer version means by it cannot be guessed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; it is written by 'fit' and 'test'")
    known = {field.name: field for field in fields(kind)}
    rows = []
    for number, row in enumerate(read_lines(path), 1):
        for name in row.keys() - known.keys():
            raise InputError(f"{path} row {number}: unknown field {name!r}; a newer ptst_pl wrote it, update this one")
        for name, field in known.items():
            _check(f"{path} row {number}", row, name, field)
        rows.append(kind(**row))
    return rows


def _check(where: str, row: dict[str, Any], name: str, field: Field[Any]) -> None:
    if name not in row:
        if field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: field {name!r} is missing")
        return
    value, kinds = row[name], _KINDS.get(str(field.type), (object,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
        raise InputError(f"{where}: field {name!r} is {value!r:.60}, expected {field.type}")
    if name == "measures" and value not in COUNTED_FIELD:
        raise InputError(f"{where}: measures is {value!r}, expected one of {', '.join(COUNTED_FIELD)}")


def read_generations(results: ResultsFolder) -> list[Generation]:
    """The answers of every finished step; what an interrupted evaluation left is no part of them.

    Raises:
        InputError: an answer that stands twice, or a step with rates and no answers.
    """
    path, steps = results.path / "generations.jsonl", results.steps()
    found: dict[Key, Generation] = {}
    for generation in read_records(path, Generation):
        if generation.step in steps and found.setdefault(key_of(generation), generation) is not generation:
            suite, prompt, template, step = key_of(generation)
            raise InputError(
                f"{path}: two answers to {suite} {prompt} under {template} at step {step}; rates and their intervals "
                "count one answer to each prompt: keep one sample of each, and its verdicts"
            )
    if missing := steps - {step for *_, step in found}:
        raise InputError(f"{path}: no answers of step {min(missing)}, of which {results.results_file.name} has rates")
    return list(found.values())


def read_verdicts(results: ResultsFolder) -> dict[str, dict[Key, Verdict]]:
    """Verdicts by judge and answer, of those judges and steps only whose rates are stored too."""
    done = {(r["judge"], r["step"]): None for r in results.rates() if not r.get("interrupted")}
    found: dict[str, dict[Key, Verdict]] = {judge: {} for judge, _ in done}
    for verdict in read_records(results.path / "verdicts.jsonl", Verdict):
        if (verdict.judge, verdict.step) not in done:
            continue
        if found[verdict.judge].setdefault(key_of(verdict), verdict) is not verdict:
            suite, prompt, template, step = key_of(verdict)
            raise InputError(
                f"{results.path / 'verdicts.jsonl'}: two verdicts of judge {verdict.judge} on {suite} {prompt} "
                f"under {template} at step {step}; run 'ptst_pl judge' with it again"
            )
    return found


def replace_verdicts(
    results: ResultsFolder, judge: Judge, judged: Sequence[Generation], verdicts: Sequence[Verdict]
) -> tuple[list[dict[str, Any]], int]:
    """Store a judge's verdicts on the answers of all finished steps, in the place of its earlier ones.

    The rates are written last, and earlier ones are marked as interrupted first: a kill at any moment
    leaves no rate beside verdicts that do not yield it. What another process added to the folder while
    the judge was at work is kept.

    Args:
        results: the folder.
        judge: the judge.
        judged: the answers that were judged.
        verdicts: one per answer, in the same order.

    Returns:
        The new rate records, and how many earlier verdicts were replaced.

    Raises:
        InputError: the answers have changed while they were judged.
    """
    with _locked(results.path):
        _check_unchanged(results, judge, judged)
        stored, steps = results.stored(), results.steps()
        new = [verdict for verdict in verdicts if verdict.step in steps]
        rates = summarise(new, stored.get("confidence", 0.95), stored.get("max_unscored", MAX_UNSCORED), [judge])
        others = [record for record in stored["rates"] if record["judge"] != judge.name]
        if len(others) < len(stored["rates"]):
            marked = [_interrupted(r) if r["judge"] == judge.name else r for r in stored["rates"]]
            _write_results(results, {**stored, "rates": marked})
        replaced = _rewrite_verdicts(results.path / "verdicts.jsonl", judge.name, new)
        _write_results(results, {**_with_judge(stored, judge), "rates": [*others, *rates]})
    return rates, replaced


def _rewrite_verdicts(path: Path, judge: str, new: Sequence[Verdict]) -> int:
    old = list(read_lines(path)) if path.exists() else []
    kept = [row for row in old if row.get("judge") != judge]
    write_text(path, "".join(map(to_line, kept)) + to_lines(new))
    return len(old) - len(kept)


def _interrupted(record: dict[str, Any]) -> dict[str, Any]:
    """A rate that holds no longer: all unscored, so that no reader takes it for a number."""
    counts = dict.fromkeys(("n", "k", "harmful", "refused", "broken", "correct"), 0)
    shares = dict.fromkeys(("rate", "low", "high", "refusal_rate", "broken_rate"))
    shares |= dict.fromkeys(key for key in SCORE_FIELDS if key in record)
    reason = "judging again was interrupted; run 'judge' once more"
    answers = int(record["n"]) + int(record["unscored"])
    return {
        **record, **counts, **shares,
        "unscored": answers, "categories": {}, "undefined": reason, "interrupted": True,
    }  # fmt: skip


def _with_judge(stored: dict[str, Any], judge: Judge) -> dict[str, Any]:
    """What stands beside the rates, with the judge's version and, where it tells them, its settings."""
    settings = {name: told for name, told in stored.get("judge_settings", {}).items() if name != judge.name}
    settings |= {judge.name: judge.settings()} if judge.settings() else {}
    meta = {key: value for key, value in stored.items() if key not in ("rates", "judge_settings")}
    if judge.name in meta.get("judge_suites", {}):  # it has judged every suite now
        meta["judge_suites"] = {name: told for name, told in meta["judge_suites"].items() if name != judge.name}
    meta["judges"] = {**stored.get("judges", {}), judge.name: judge.version}
    return meta | ({"judge_settings": settings} if settings else {})


def _write_results(results: ResultsFolder, stored: dict[str, Any]) -> None:
    text = json.dumps(stored, indent=1, ensure_ascii=False, default=str)
    write_text(results.results_file, text + "\n")


def _check_unchanged(results: ResultsFolder, judge: Judge, judged: Sequence[Generation]) -> None:
    was: dict[int, dict[Key, str]] = defaultdict(dict)
    now: dict[int, dict[Key, str]] = defaultdict(dict)
    for found, generations in ((was, judged), (now, read_generations(results))):
        for generation in generations:
            if generation.measures in judge.measures:
                found[generation.step][key_of(generation)] = generation.answer
    for step in was.keys() & results.steps():
        if was[step] != now[step]:
            raise InputError(f"{results.path}: step {step} was evaluated again meanwhile; run 'judge' again")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One 'judge' at a time writes to a folder; the lock ends with the process, whatever ends it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
