"""A lower limit on a mean score, such as lm-eval's accuracy: ``--min lm-eval/mmlu/acc=0.4``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ptst_pl.ship.gate.checks import Check


class ScoreLimit(NamedTuple):
    """Suite, judge (or metric), and what the score must be proved to reach."""

    suite: str
    judge: str
    limit: float

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.suite}/{self.judge}"


def score_limit(text: str) -> ScoreLimit:
    """Of ``SUITE/METRIC=VALUE``."""
    name, mark, value = text.rpartition("=")
    suite, slash, judge = name.rpartition("/")
    try:
        limit = float(value)
    except ValueError:
        limit = float("nan")
    if not (mark and slash and suite and judge) or limit != limit:
        raise argparse.ArgumentTypeError(f"{text!r}, expected SUITE/METRIC=VALUE such as lm-eval/mmlu/acc=0.4")
    return ScoreLimit(suite, judge, limit)


def check_score(wanted: ScoreLimit, rates: Sequence[Mapping[str, Any]], template: str, step: int) -> Check:
    """The lower end of the score's interval must reach the limit; without an interval nothing is proved.

    Args:
        wanted: the limit.
        rates: records of the step.
        template: served under.
        step: the step.
    """
    cell = wanted.suite, template, wanted.judge
    record = next((r for r in rates if (r["suite"], r["template"], r["judge"]) == cell), None)
    if record is None or record.get("mean_score") is None:
        reason = f"{wanted.name} was not measured under {template} at step {step}"
        return Check(
            "score", wanted.suite, template, wanted.judge, "", 0, 0, 0, 0, None, None, wanted.limit, "", reason
        )
    mean, low = float(record["mean_score"]), record.get("score_low")
    version = str(record.get("judge_version", ""))
    n, unscored, broken = (int(record.get(key) or 0) for key in ("n", "unscored", "broken"))
    shown = "unknown" if low is None else f"{float(low):.3f}"
    text = f"{wanted.name} under {template} is {mean:.3f} ({n} questions), at least {shown}"
    passed = low is not None and float(low) >= wanted.limit
    reason = "" if passed else f"{text}, below {wanted.limit:g}"
    return Check(
        "score", wanted.suite, template, wanted.judge, version, 0, n, unscored, broken, mean,
        None if low is None else float(low), wanted.limit, text, reason,
    )  # fmt: skip
