"""Let the ways take turns, and print what came out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from generation_cases import Case
from generation_differences import differing
from generation_limit import synchronize
from generation_ways import Answers, Entry

from ptst_pl.generation.engine import release
from ptst_pl.generation.request import Request
from ptst_pl.results.rates_table import grid


@dataclass
class Measured:
    """What a way did: seconds of every turn, and the answers of the last."""

    seconds: list[float] = field(default_factory=list)
    answers: Answers = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens a second, in the median turn."""
        return self.tokens / statistics.median(self.seconds)

    @property
    def tokens(self) -> int:
        """Of all answers."""
        return sum(map(len, self.answers))

    def times(self, other: Measured) -> float:
        """How many times as fast as another way: the median over the turns, since a machine's speed may drift."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(self.tokens / own / (other.tokens / theirs) for own, theirs in pairs)


def measure(entries: Sequence[Entry], case: Case, turns: int) -> dict[str, Measured]:
    """One turn each, then the next; on a GPU a few prompts go first, so that no way pays for what others find ready."""
    found = {entry.name: Measured() for entry in entries}
    device = str(case.model.device)
    if case.model.device.type == "cuda":
        for entry in entries:
            _run(entry, case, [replace(one, max_new_tokens=4) for one in case.wanted[:8]])
    for _ in range(turns):
        for entry in entries:
            synchronize(device)
            start = time.perf_counter()
            found[entry.name].answers = entry.way(case.model, case.wanted[: entry.first], case.stops)
            synchronize(device)
            found[entry.name].seconds.append(time.perf_counter() - start)
            _clear(case)
    return found


def _run(entry: Entry, case: Case, wanted: Sequence[Request]) -> Answers:
    answers = entry.way(case.model, wanted, case.stops)
    _clear(case)
    return answers


def _clear(case: Case) -> None:
    """The memory of one way is no burden to the next."""
    release(case.model)
    if case.model.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def answers_of(entry: Entry, case: Case) -> Answers:
    """Without a clock."""
    return _run(entry, case, case.wanted[: entry.first])


def table(case: Case, found: dict[str, Measured], limit: float | None) -> str:
    """One row per way.

    Args:
        case: what was answered.
        found: by way; the first is what the others are compared with.
        limit: tokens a second that memory allows; None: not asked for.
    """
    first = next(iter(found.values()))
    judged = list(case.harmful(first.answers))
    head = ["way", "seconds", "(range)", "tokens/s", "times the first", *(["of the limit"] if limit else [])]
    lines = [[*head, *(f"harmful, {template}" for template in judged), "same rows"]]
    for name, one in found.items():
        both = min(len(one.answers), len(first.answers))
        cells = [name, f"{statistics.median(one.seconds):.1f}", f"{min(one.seconds):.1f}-{max(one.seconds):.1f}"]
        cells += [f"{one.speed:.0f}", f"{one.times(first):.1f}"]
        cells += [f"{one.speed / limit:.1%}"] if limit else []
        cells += case.harmful(one.answers).values()
        lines.append([*cells, f"{both - len(differing(first.answers, one.answers))} of {both}"])
    return grid(lines)


def record(found: dict[str, Measured], limit: float | None) -> dict[str, Any]:
    """For latest.json."""
    first = next(iter(found.values()))
    ways = {
        name: {
            "seconds": one.seconds,
            "tokens_per_second": one.speed,
            "times_the_first": one.times(first),
            "rows": min(len(one.answers), len(first.answers)),
            "same_rows": min(len(one.answers), len(first.answers)) - len(differing(first.answers, one.answers)),
            **({"share_of_limit": one.speed / limit} if limit else {}),
        }
        for name, one in found.items()
    }
    return {"ways": ways, **({"limit_tokens_per_second": limit} if limit else {})}
