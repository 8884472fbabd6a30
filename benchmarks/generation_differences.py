"""Where two ways answer differently, and how near a tie the model was there.

The gap of a row: behind the prompt and the tokens that both answers begin with, how far the worse of the two next
tokens lies below the best, in logits of the same model's own forward pass, in its own type. For a near tie that is
the distance of the two best; for a wrong token it is large. In float32 a gap above 1e-4 is an error; in bfloat16 it
is a report, for rounding alone turns rows (pitfall D5).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from generation_cases import Case
from generation_ways import Answers

from ptst_pl.generation.request import Request
from ptst_pl.results.rates_table import grid

NEAR_TIE = 1e-4
# Gaps of so many rows of a way are measured: each costs a forward pass.
MOST = 64


@dataclass(frozen=True)
class Difference:
    """A row that is answered in two ways.

    Attributes:
        row: its number.
        place: number of the first token that differs.
        gap: see above; infinite where an answer ended although nothing ends it.
        spacing: distance of neighbouring bfloat16 numbers at the best logit.
    """

    row: int
    place: int
    gap: float
    spacing: float


def differing(one: Answers, other: Answers) -> list[int]:
    """Numbers of the rows that differ, of those that both have."""
    return [row for row, (left, right) in enumerate(zip(one, other, strict=False)) if left != right]


def differences(case: Case, one: Answers, other: Answers, most: int = MOST) -> list[Difference]:
    """The first ``most`` rows that differ, with their gaps."""
    rows = differing(one, other)[:most]
    return [_difference(case, row, case.wanted[row], one[row], other[row]) for row in rows]


@torch.no_grad()
def _difference(case: Case, row: int, request: Request, one: Sequence[int], other: Sequence[int]) -> Difference:
    pairs = zip(one, other, strict=False)
    place = next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
    ids = torch.tensor([[*request.ids, *one[:place]]], device=case.model.device)
    logits = case.model(input_ids=ids, use_cache=False).logits[0, -1].float()
    best = float(logits.max())
    chosen = [_logit(logits, answer, place, request, case.stops) for answer in (one, other)]
    return Difference(row, place, best - min(chosen), _spacing(best))


def _logit(logits: torch.Tensor, answer: Sequence[int], place: int, request: Request, stops: Sequence[int]) -> float:
    """Of the token that the answer goes on with, or of the likeliest stop id where it ends."""
    if place < len(answer):
        return float(logits[answer[place]])
    if not stops or place >= request.max_new_tokens:
        return -math.inf
    return float(logits[list(stops)].max())


def _spacing(value: float) -> float:
    return 2.0 ** (math.floor(math.log2(abs(value))) - 7) if value else 0.0


def near_ties(case: Case, first: str, answers: dict[str, Answers]) -> tuple[list[str], bool]:
    """A line for each row that differs from the first way's, and whether all of them are near ties."""
    lines, fine = [], True
    for name, found in answers.items():
        for one in differences(case, answers[first], found, len(case.wanted)):
            near = one.gap <= NEAR_TIE
            fine &= near
            kind = "a near tie" if near else f"NOT a near tie (above {NEAR_TIE:g})"
            lines.append(f"{name}: row {one.row} differs from token {one.place} on, gap {one.gap:.2g}: {kind}")
    return lines, fine


@dataclass(frozen=True)
class Compared:
    """One way against another.

    Attributes:
        rows: answered by both.
        differ: how many of them differ.
        measured: the differences with their gaps, at most ``MOST``.
        harmful: what the exact judge says of the answers, see ``Case.harmful``.
    """

    rows: int
    differ: int
    measured: list[Difference]
    harmful: dict[str, str]

    def record(self) -> dict[str, Any]:
        """For latest.json."""
        gaps = [one.gap for one in self.measured]
        return {
            "rows": self.rows,
            "differ": self.differ,
            "median_gap": statistics.median(gaps) if gaps else None,
            "largest_gap": max(gaps) if gaps else None,
            "harmful": self.harmful,
        }


def compare(case: Case, base: Answers, found: Answers) -> Compared:
    """Count and measure."""
    harmful = case.harmful(found) if len(found) == len(case.wanted) else {}
    return Compared(min(len(base), len(found)), len(differing(base, found)), differences(case, base, found), harmful)


def difference_table(found: dict[str, Compared]) -> str:
    """How many rows differ, by how much, and what that does to the lab's rates."""
    templates = list(next(iter(found.values())).harmful)
    lines = [["way", "rows that differ", "median gap", "largest gap", "in steps of bf16"]]
    lines[0] += [f"harmful, {template}" for template in templates]
    for name, one in found.items():
        cells = ["-"] * 3
        if one.measured:
            largest = max(one.measured, key=lambda difference: difference.gap)
            steps = largest.gap / largest.spacing if largest.spacing else math.inf
            median = statistics.median(difference.gap for difference in one.measured)
            cells = [f"{median:.3g}", f"{largest.gap:.3g}", f"{steps:.3g}"]
        lines.append([name, f"{one.differ} of {one.rows}", *cells, *(one.harmful.values())])
    return grid(lines)
