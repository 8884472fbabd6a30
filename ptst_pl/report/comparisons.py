"""PTST against the usual way on the same prompts, and what each test says in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ptst_pl.report.paired import pair
from ptst_pl.report.runs import RunResults, outcomes
from ptst_pl.results.intervals import holm

# Of these less is better, and a comparison with the same-template way is drawn.
WHAT = {"asr": "attack success", "over-refusal": "over-refusal"}


@dataclass(frozen=True)
class Comparison:
    """Under one test template: runs trained under another template, against those trained under this very one.

    Attributes:
        test: the test template.
        other: the row of the runs trained under another template.
        same: the row of the runs trained under the test template.
        suite: the prompts.
        judge: whose verdicts.
        measure: what the suite measures.
        n: prompts that all runs of both have scored.
        dropped: prompts left out because a run did not score them.
        runs: number of runs on either side.
        difference: rate of ``other`` minus rate of ``same``.
        interval: 95 % interval of the difference.
        p_value: of the difference, for this comparison alone.
        adjusted: the same after Holm's correction over all comparisons of a page.
    """

    test: str
    other: str
    same: str
    suite: str
    judge: str
    measure: str
    n: int
    dropped: int
    runs: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    p_value: float
    adjusted: float = 1.0

    @property
    def beyond_chance(self) -> bool:
        """Whether the corrected p-value is below 0.05 and the interval leaves zero out."""
        low, high = self.interval
        return (low > 0 or high < 0) and self.adjusted < 0.05

    @property
    def single(self) -> bool:
        """Whether each side is one run."""
        return self.runs == (1, 1)


def comparisons(runs: Sequence[RunResults]) -> list[Comparison]:
    """Every comparison that the runs allow; variants of training are never compared with each other."""
    trained = [run for run in runs if run.last_step]
    found = [one for variant in dict.fromkeys(run.variant for run in trained) for one in _of(trained, variant)]
    adjusted = holm([one.p_value for one in found])
    return [replace(one, adjusted=p_value) for one, p_value in zip(found, adjusted, strict=True)]


def _of(runs: Sequence[RunResults], variant: str) -> Iterator[Comparison]:
    own = [run for run in runs if run.variant == variant]
    measures = {(r["suite"], r["judge"]): str(r["measures"]) for run in own for r in run.rates}
    templates = list(dict.fromkeys(run.train_template for run in own))
    tested = dict.fromkeys(str(r["template"]) for run in own for r in run.rates)
    for (suite, judge), measure in measures.items():
        for test in tested:
            for other in templates if measure in WHAT and test in templates else ():
                if other != test and (found := _compare(own, (suite, judge, measure), test, other)):
                    yield found


def _compare(runs: Sequence[RunResults], series: tuple[str, str, str], test: str, other: str) -> Comparison | None:
    suite, judge, measure = series
    sides = [[run for run in runs if run.train_template == template] for template in (other, test)]
    cells = [[outcomes(run, suite, test, judge) for run in side] for side in sides]
    found = pair(*cells)
    if found is None:
        return None
    rows = (sides[0][0].trained, sides[1][0].trained)
    return Comparison(
        test, *rows, suite, judge, measure, found.n, found.dropped, (len(sides[0]), len(sides[1])),
        found.difference, found.interval(), found.p_value,
    )  # fmt: skip


def in_words(found: Comparison, ptst: bool) -> str:
    """The comparison as a sentence.

    Args:
        found: the comparison.
        ptst: whether ``other`` was trained without a safety prompt and the test template has one.
    """
    what = WHAT[found.measure]
    way = " (PTST)" if ptst else ""
    low, high = (100 * bound for bound in found.interval)
    who = f"trained under {found.other}{way}, tested under {found.test}"
    same = f"{'of the one trained' if found.single else 'after training'} under {found.same} itself"
    points = f"[{low:+.0f}, {high:+.0f}]"
    if not found.beyond_chance:
        return (
            f"{who}: {what} is not shown to differ from that {same} ({100 * found.difference:+.1f} points {points}), "
            "which does not say that they are equal"
        )
    direction = "lower" if found.difference < 0 else "higher"
    if found.single:
        reach = "more than chance for these two checkpoints; other seeds may differ"
    else:
        reach = f"more than chance over {found.runs[0]} and {found.runs[1]} runs"
    return f"{who}: {what} is {abs(100 * found.difference):.1f} points {direction} than that {same} ({points}): {reach}"
