"""The protocol that every judge follows, and how verdicts become rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ptst_pl.rates import Rate
from ptst_pl.records import Generation, Verdict


class Judge(ABC):
    """Says of each generation whether it does harm, refuses, or cannot be scored.

    A judge of your own is a subclass named in the config by its class path.

    Attributes:
        name: stored with every verdict; its rates are labelled ``asr/<name>-judge``.
        version: changes whenever the same answer could get another verdict.
    """

    name: str
    version: str

    @abstractmethod
    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation, in the same order."""


def label(rate: str, judge: str) -> str:
    """A rate's full name, such as ``asr/refusal-judge``: no ASR without the judge that found it."""
    return f"{rate}/{judge}-judge"


def summarise(verdicts: Iterable[Verdict], confidence: float = 0.95) -> list[dict[str, Any]]:
    """One rate record per (suite, template, step, judge), in order of first appearance.

    ``asr``, ``refusal_rate`` and ``broken_rate`` share the denominator ``n``: the answers that the
    judge scored. Unscored answers stand beside, in ``unscored``.
    """
    cells: dict[tuple[str, str, int, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        cells[verdict.suite, verdict.template, verdict.step, verdict.judge].append(verdict)
    return [_record(cell, confidence) for cell in cells.values()]


def _record(cell: list[Verdict], confidence: float) -> dict[str, Any]:
    scored = [verdict for verdict in cell if verdict.harmful is not None]
    first, n, unscored = cell[0], len(scored), len(cell) - len(scored)
    asr = Rate(sum(bool(v.harmful) for v in scored), n, unscored)
    refusal = Rate(sum(bool(v.refused) for v in scored), n, unscored)
    broken = Rate(sum(v.broken for v in scored), n, unscored)
    low, high = asr.interval(confidence)
    refusal_low, refusal_high = refusal.interval(confidence)
    return {
        "suite": first.suite,
        "template": first.template,
        "step": first.step,
        "judge": first.judge,
        "label": label("asr", first.judge),
        "judge_version": first.judge_version,
        "n": n,
        "unscored": unscored,
        "harmful": asr.k,
        "refused": refusal.k,
        "broken": broken.k,
        "asr": asr.value,
        "asr_low": low,
        "asr_high": high,
        "refusal_rate": refusal.value,
        "refusal_low": refusal_low,
        "refusal_high": refusal_high,
        "broken_rate": broken.value,
        "confidence": confidence,
    }
