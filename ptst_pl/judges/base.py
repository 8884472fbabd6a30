"""The protocol that every judge follows, and how verdicts become rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ptst_pl.rates import Rate
from ptst_pl.records import Generation, Verdict


class Judge(ABC):
    """Says of each generation what its suite measures: harm, refusal, or a right answer.

    A judge of your own is a subclass named in the config by its class path.

    Attributes:
        name: stored with every verdict; its rates are labelled ``asr/<name>-judge``.
        version: changes whenever the same answer could get another verdict.
        measures: the kinds of suite that it can judge.
    """

    name: str
    version: str
    measures: tuple[str, ...] = ("asr", "over-refusal")

    @abstractmethod
    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation, in the same order."""

    def verdict(self, generation: Generation, **fields: Any) -> Verdict:
        """A verdict on ``generation`` with its key and this judge's name filled in."""
        key = {name: getattr(generation, name) for name in _KEY}
        return Verdict(**key, judge=self.name, judge_version=self.version, **{**_NOTHING, **fields})


_KEY = ("suite", "prompt_id", "template", "step", "measures", "category")
_NOTHING: dict[str, Any] = {"harmful": None, "refused": None}


def label(measure: str, judge: str) -> str:
    """A rate's full name, such as ``asr/refusal-judge``: no ASR without the judge that found it."""
    return f"{measure}/{judge}-judge"


def summarise(verdicts: Iterable[Verdict], confidence: float = 0.95) -> list[dict[str, Any]]:
    """One rate record per (suite, template, step, judge), in order of first appearance.

    ``rate`` is what the suite measures: the share of harmful answers (``asr``), of refused ones
    (``over-refusal``) or of right ones (``helpfulness``), ``k`` of the ``n`` answers that the judge
    scored. Unscored answers stand beside, in ``unscored``.
    """
    cells: dict[tuple[str, str, int, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        cells[verdict.suite, verdict.template, verdict.step, verdict.judge].append(verdict)
    return [_record(cell, confidence) for cell in cells.values()]


# What a suite measures -> the verdict's field that counts, None in it meaning unscored.
_COUNTS = {"asr": "harmful", "over-refusal": "refused", "helpfulness": "correct"}


def _record(cell: list[Verdict], confidence: float) -> dict[str, Any]:
    first = cell[0]
    field = _COUNTS[first.measures]
    scored = [verdict for verdict in cell if getattr(verdict, field) is not None]
    counts = {name: sum(bool(getattr(v, name)) for v in scored) for name in ("harmful", "refused", "broken", "correct")}
    rate = Rate(counts[field], len(scored), len(cell) - len(scored))
    low, high = rate.interval(confidence)
    return {
        "suite": first.suite,
        "template": first.template,
        "step": first.step,
        "judge": first.judge,
        "judge_version": first.judge_version,
        "measures": first.measures,
        "label": label(first.measures, first.judge),
        "n": rate.n,
        "unscored": rate.unscored,
        "k": rate.k,
        "rate": rate.value,
        "low": low,
        "high": high,
        "confidence": confidence,
        **counts,
        "refusal_rate": Rate(counts["refused"], rate.n).value,
        "broken_rate": Rate(counts["broken"], rate.n).value,
    }
