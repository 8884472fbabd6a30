"""Results folders with given counts, for gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptst_pl.judges.base import summarise
from ptst_pl.results.records import COUNTED_FIELD, ResultsFolder, Verdict

DECODING = {"max_new_tokens": 56, "temperature": 0.0, "batch_size": 48, "seed": 42}


def verdicts(
    k: int, n: int, unscored: int = 0, suite: str = "hats", measures: str = "asr", template: str = "chat:llama",
    step: int = 9, judge: str = "refusal", version: str = "2", broken: int = 0, first: int = 0,
) -> list[Verdict]:  # fmt: skip
    """``n`` scored answers, ``k`` of which count, from prompt ``first`` on round the suite, and unscored ones."""
    field, found = COUNTED_FIELD[measures], []
    for place in range(n + unscored):
        counted = None if place >= n else (place - first) % n < k
        values: dict[str, Any] = {"harmful": False, "refused": False, field: counted}
        if counted is None:
            values = dict.fromkeys(values)
        found.append(
            Verdict(
                suite, str(place), template, step, judge, **values, measures=measures, judge_version=version,
                broken=n - broken <= place < n,
            )
        )  # fmt: skip
    return found


def fill(folder: Path, *cells: list[Verdict], **meta: Any) -> Path:
    """A run folder with these cells."""
    everything = [verdict for cell in cells for verdict in cell]
    suites = {v.suite: {"sha256": f"{v.suite}-hash", "n": 1} for v in everything}
    told = {"train_template": "chat:vanilla", "decoding": DECODING, "suites": suites, "chat_format": "llama2"} | meta
    results = ResultsFolder(folder / "safety", told)
    for step in sorted({verdict.step for verdict in everything}):
        own = [verdict for verdict in everything if verdict.step == step]
        results.add([], own, summarise(own), step)
    return folder
