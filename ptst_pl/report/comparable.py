"""Whether runs may stand in one table (pitfall H8), and what is missing in them. A line each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ptst_pl.report.configs import get
from ptst_pl.report.runs import RunResults
from ptst_pl.results.identity import UNKNOWN
from ptst_pl.results.records import setting

# Settings that change answers in low precision only, by the order in which numbers are added (pitfall D5).
_ROUNDING = ("batch_size", "backend")
# What results.json holds by name: what it is, and what of it must not differ.
_KINDS = {
    "suites": ("suite", "prompts (sha256)"), "templates": ("template", "text"), "judges": ("judge", "version"),
    "judge_settings": ("judge", "settings"),
}  # fmt: skip


def incomparable(runs: Sequence[RunResults]) -> list[str]:
    """Why numbers of these runs do not belong into one table; empty if nothing speaks against it."""
    return [*_settings(runs), *_untouched(runs), *_copies(runs), *_steps(runs)]


def incomplete(runs: Sequence[RunResults]) -> list[str]:
    """What the runs' files lack."""
    return [
        *(line for run in runs for line in _lacking(run)),
        *_missing_cells(runs),
        *_seeds(runs),
        *_unscored(runs),
        *_unknown(runs),
    ]


def _settings(runs: Sequence[RunResults]) -> Iterator[str]:
    for kind, (what, of) in _KINDS.items():
        for name in dict.fromkeys(name for run in runs for name in run.meta.get(kind) or {}):
            having = [run for run in runs if name in (run.meta.get(kind) or {})]
            yield from _differ(f"{what} {name}: {of}", having, partial(_named, kind, name))
    keys = dict.fromkeys(key for run in runs for key in run.meta.get("decoding") or {})
    having = [run for run in runs if "decoding" in run.meta]
    for key in keys:
        if key == "seed":  # seeds of sampled answers are there to differ
            continue
        note = " (it can change answers in low precision)" if key in _ROUNDING else ""
        yield from _differ(f"decoding {key}{note}", having, partial(_decoding, key=key))
    for key in dict.fromkeys(key for run in runs for key in run.meta.get("chat_options") or {}):
        yield from _differ(f"chat_options {key}", runs, partial(_chat, key=key))
    for key in ("chat_format", "confidence", "max_unscored", "precision"):
        yield from _differ(key, [run for run in runs if key in run.meta], partial(_stored, key=key))


def _decoding(run: RunResults, key: str) -> Any:
    return setting(run.meta["decoding"], key)


def _chat(run: RunResults, key: str) -> Any:
    return setting(run.meta.get("chat_options") or {}, key)


def _stored(run: RunResults, key: str) -> Any:
    return run.meta[key]


def _named(kind: str, name: str, run: RunResults) -> Any:
    found = run.meta[kind][name]
    return str(found.get("sha256"))[:12] if kind == "suites" else found


def _differ(what: str, runs: Sequence[RunResults], value: Callable[[RunResults], Any]) -> Iterator[str]:
    """A line where a setting is not the same in all runs that tell it."""
    groups: dict[str, list[RunResults]] = {}
    for run in runs:
        groups.setdefault(repr(value(run)), []).append(run)
    if len(groups) > 1:
        told = "; ".join(f"{_cut(text)} in {_names(own)}" for text, own in groups.items())
        yield f"{what} differs: {told}"


def _names(runs: Sequence[RunResults]) -> str:
    shown = ", ".join(str(run.path) for run in runs[:3])
    return shown if len(runs) <= 3 else f"{shown} and {len(runs) - 3} more"


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _untouched(runs: Sequence[RunResults]) -> Iterator[str]:
    """Step 0 is one model in all runs of a row: its counts must be the same."""
    first: dict[tuple[str, ...], tuple[RunResults, Mapping[str, Any]]] = {}
    for run in runs:
        for r in run.rates:
            if int(r["step"]) == 0:
                cell = (run.untouched, str(r["suite"]), str(r["template"]), str(r["judge"]))
                other, known = first.setdefault(cell, (run, r))
                if (r["n"], r["unscored"], r.get("k")) != (known["n"], known["unscored"], known.get("k")):
                    yield (
                        f"step 0 is not the same model or the same evaluation: {cell[1]} under {cell[2]} by {cell[3]} "
                        f"is {known.get('k')} of {known['n']} in {other.path}, {r.get('k')} of {r['n']} in {run.path}; "
                        "the table shows the first"
                    )
                    break


def _copies(runs: Sequence[RunResults]) -> Iterator[str]:
    seen: dict[str, RunResults] = {}
    for run in runs:
        digest = hashlib.sha256(run.file.read_bytes()).hexdigest()
        if digest in seen:
            yield f"{run.path} has the very results of {seen[digest].path}: a copy, which counts twice in a mean"
        seen.setdefault(digest, run)


def _unknown(runs: Sequence[RunResults]) -> list[str]:
    """Runs of older versions: that their models are different ones is taken on trust."""
    unknown = [run for run in runs if run.model_key is None and "endpoint" not in run.meta]
    return [f"{UNKNOWN}: {_names(unknown)} (written before base model and training were recorded)"] if unknown else []


def _steps(runs: Sequence[RunResults]) -> Iterator[str]:
    for row in dict.fromkeys(run.row for run in runs):
        own = [run for run in runs if run.row == row]
        told = ", ".join(f"{run.last_step} in {run.path}" for run in own)
        if len({run.last_step for run in own}) > 1:
            yield f"the runs trained under {row} end at different steps: {told}"


def _seeds(runs: Sequence[RunResults]) -> Iterator[str]:
    for row in dict.fromkeys(run.row for run in runs):
        own = [run for run in runs if run.row == row]
        if len(own) > 1 and any(not run.config for run in own):
            yield f"no config beside some of the {len(own)} runs of row {row}: they count as seeds of one training"


def _lacking(run: RunResults) -> Iterator[str]:
    have = {(r["suite"], r["template"], r["judge"]) for r in run.rates}
    now = {(r["suite"], r["template"], r["judge"]) for r in run.rates if int(r["step"]) == run.last_step}
    for suite, template, judge in sorted(have - now):
        yield f"{run.path}: no rate of {suite} under {template} by {judge} at its last step {run.last_step}"
    told = {(suite, template) for suite, template, _ in now}
    for template in run.meta.get("templates") or {}:
        for suite in run.meta.get("suites") or {}:
            if (suite, template) not in told:
                yield f"{run.path}: {suite} under {template} was to be tested and has no rate at step {run.last_step}"
    steps = get(run.config, "trainer.max_steps")
    if run.file.parent.name == "safety" and isinstance(steps, int) and run.last_step < steps:
        early = " (it may have stopped early, as its config allows)" if get(run.config, "stop.monitor") else ""
        yield f"{run.path}: ends at step {run.last_step} of {steps}{early}"
    for name in ("generations.jsonl", "verdicts.jsonl"):
        if not (run.file.parent / name).is_file():
            yield f"{run.path}: no {name} beside the rates; what is made from it is left out"
    if any(r.get("interrupted") for r in run.rates):
        yield f"{run.path}: judging again was interrupted; run 'judge' once more"


def _missing_cells(runs: Sequence[RunResults]) -> list[str]:
    """Cells that some row of the matrix has and another has not."""
    series = dict.fromkeys((str(r["suite"]), str(r["template"]), str(r["judge"])) for run in runs for r in run.rates)
    lines = []
    for run in runs:
        have = {(r["suite"], r["template"], r["judge"]) for r in run.rates if int(r["step"]) == run.last_step}
        missing = [cell for cell in series if cell not in have]
        if missing:
            suite, template, judge = missing[0]
            more = f" and {len(missing) - 1} more cells" if len(missing) > 1 else ""
            lines.append(f"{run.path}: lacks {suite} under {template} by {judge}{more}, which other runs have")
    return lines


def _unscored(runs: Sequence[RunResults]) -> list[str]:
    found = []
    for run in runs:
        own = [r for r in run.rates if int(r["step"]) == run.last_step and r["unscored"] and r["rate"] is not None]
        if own:
            worst = max(own, key=lambda r: int(r["unscored"]))
            found.append(
                f"{run.path}: unscored answers in {len(own)} cells of its last step, at most {worst['unscored']} of "
                f"{worst['n'] + worst['unscored']} ({worst['suite']} under {worst['template']} by {worst['judge']})"
            )
    return found
