"""Which rates of a results folder a gate looks at."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.report.runs import RunResults
from ptst_pl.ship.gate.checks import Check, check_rate, missing
from ptst_pl.ship.gate.relative import check_increase
from ptst_pl.ship.gate.scores import check_score

Record = Mapping[str, Any]
# Flag that sets a limit -> what the suites measure that it is for.
LIMITS = {
    "max_asr": "asr", "max_over_refusal": "over-refusal", "min_helpfulness": "helpfulness", "min_rules": "rules",
}  # fmt: skip
_ALLOWED_UNSCORED = 0.1  # as ``safety.max_unscored``, for results that do not say


class Chosen:
    """The rates of one folder at one step, and what the command line says of them.

    Args:
        run: the folder's results.
        options: the parsed command line.

    Raises:
        InputError: a step, suite, template or judge that the results do not have, or one that has to be named.
    """

    def __init__(self, run: RunResults, options: Namespace) -> None:
        self.run, self.options = run, options
        self.step = step_of(run, options.step, "--step")
        self.rates = [record for record in run.rates if int(record["step"]) == self.step]
        self.suites: list[str] = options.suite or []
        self._known(self.suites, [str(r["suite"]) for r in run.rates], "suite")
        self.templates = self._templates()
        self.judges: list[str] = options.judge or []
        self._known(self.judges, [str(r["judge"]) for r in run.rates], "judge")

    def checks(self, base: RunResults | None) -> list[Check]:
        """Every limit held against every rate that it is for, the templates one after the other."""
        found: list[Check] = []
        for template in self.templates:
            for flag, measures in LIMITS.items():
                limit = getattr(self.options, flag)
                if limit is not None:
                    found += self._held(template, measures, float(limit))
            found += [check_score(limit, self.rates, template, self.step) for limit in self.options.min]
            if base is not None:
                found += self._compared(template, base)
        return found

    def _held(self, template: str, measures: str, limit: float) -> Iterator[Check]:
        allowed = self.run.meta.get("max_unscored", _ALLOWED_UNSCORED)
        for suite, judge, record in self._cells(template, measures):
            if record is None:
                yield missing(measures, limit, template, self.step, suite, judge)
            else:
                yield check_rate(record, limit, self.options.confidence, float(allowed), str(self.run.file))

    def _compared(self, template: str, base: RunResults) -> Iterator[Check]:
        # The model before any training, where the folder has it.
        first = 0 if any(int(record["step"]) == 0 for record in base.rates) else base.last_step
        step = first if self.options.base_step is None else step_of(base, self.options.base_step, "--base-step")
        limit = float(self.options.max_increase)
        for suite, judge, record in self._cells(template, "asr"):
            if record is None:
                yield missing("asr", limit, template, self.step, suite, judge)
            else:
                yield check_increase(self.run, record, base, step, limit, self.options.confidence)

    def _cells(self, template: str, measures: str) -> Iterator[tuple[str, str, Record | None]]:
        """Suite, judge and rate; None for a rate that was not measured under this template at this step."""
        measured = [r for r in self.run.rates if r["measures"] == measures]
        every = [r for r in measured if r.get("mean_score") is None]
        if measured and not every:
            raise InputError(
                f"gate: {measures} has mean scores and no rate (judge {measured[0]['judge']}); add the verdicts of a "
                "judge that calls answers right or wrong with 'ptst_pl judge'"
            )
        named = [r for r in every if r["suite"] in self.suites]
        wanted = named or every
        suites = list(dict.fromkeys(str(r["suite"]) for r in wanted))
        judges = self._judges(wanted, measures)
        if not suites:
            yield "", "", None
        for suite in suites:
            own = [judge for judge in judges if any((r["suite"], r["judge"]) == (suite, judge) for r in wanted)]
            for judge in own or judges:
                cell = suite, template, judge
                yield suite, judge, next((r for r in self.rates if cell_of(r) == cell), None)

    def _judges(self, records: Sequence[Record], measures: str) -> list[str]:
        there = list(dict.fromkeys(str(r["judge"]) for r in records))
        named = [judge for judge in there if judge in self.judges]
        if len(there) > 1 and not named:
            raise InputError(f"gate: --judge is needed: {measures} was judged by {', '.join(there)}")
        return named or there

    def _templates(self) -> list[str]:
        there = list(dict.fromkeys(str(record["template"]) for record in self.run.rates))
        given: list[str] = self.options.template or []
        self._known(given, there, "template")
        if not given and len(there) > 1:
            raise InputError(
                f"gate: --template is needed, the one that the model will be served under: tested under "
                f"{', '.join(there)}"
            )
        return given or there

    def _known(self, given: Sequence[str], there: Sequence[str], kind: str) -> None:
        names = dict.fromkeys(there)
        for name in given:
            if name not in names:
                raise InputError(
                    f"gate: --{kind} {name}: {self.run.file} has no rate with this {kind}{did_you_mean(name, names)} "
                    f"(there are: {', '.join(names)})"
                )


def cell_of(record: Record) -> tuple[str, str, str]:
    """Suite, template and judge of a rate record."""
    return str(record["suite"]), str(record["template"]), str(record["judge"])


def step_of(run: RunResults, given: str | None, flag: str) -> int:
    """The step that a flag names; the last one by default.

    Raises:
        InputError: the results do not have it.
    """
    steps = sorted({int(record["step"]) for record in run.rates})
    if given in (None, "last"):
        return steps[-1]
    if given is None or not given.isdecimal() or int(given) not in steps:
        raise InputError(f"gate: {flag} {given}: {run.file} has step {', '.join(map(str, steps))}")
    return int(given)
