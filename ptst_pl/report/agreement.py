"""How the judges of all runs agree on the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ptst_pl.judges.stored.agreement import Row, count, kappa_interval
from ptst_pl.report.answers import Answer
from ptst_pl.results.records import COUNTED_FIELD


@dataclass(frozen=True)
class Agreement:
    """Two judges on the answers that both were given: over all suites of one measure, runs and steps.

    ``interval`` is None where the answers cannot tell (see ``kappa_interval``), as ``kappa`` is where both
    judges say one and the same of every answer.
    """

    measures: str
    first: str
    second: str
    n: int
    unscored: int
    agree: float | None
    kappa: float | None
    interval: tuple[float, float] | None
    only_first: int
    only_second: int


def agreements(answers: Sequence[Answer]) -> list[Agreement]:
    """Every pair of judges that have verdicts on the same answers."""
    rows: dict[tuple[str, str, str], list[Row]] = {}
    for answer in answers:
        measures = str(answer.row.get("measures", "asr"))
        labels = {str(v["judge"]): v.get(COUNTED_FIELD[measures]) for v in answer.verdicts}
        prompt = (str(answer.row["suite"]), str(answer.row["prompt_id"]))
        for first, second in combinations(sorted(labels), 2):
            rows.setdefault((measures, first, second), []).append((prompt, labels[first], labels[second]))
    return [_agreement(*names, own) for names, own in sorted(rows.items())]


def _agreement(measures: str, first: str, second: str, rows: Sequence[Row]) -> Agreement:
    counts = count(rows)
    return Agreement(
        measures, first, second, counts.n, len(rows) - counts.n, counts.agreement.value,
        counts.kappa if counts.n else None, kappa_interval(rows) if counts.n else None,
        counts.only_first, counts.only_second,
    )  # fmt: skip
