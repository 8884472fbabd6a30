"""Defences side by side: a row for each, a cell for each way to train and serve, and what is more than chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from ptst_pl.report.configs import NO_DEFENCE
from ptst_pl.report.defence_rows import View, base_template, rate_of, undefended, views, with_cell
from ptst_pl.report.paired import pair
from ptst_pl.report.runs import CellRate, RunResults
from ptst_pl.report.safety_prompts import is_ptst, safety_prompted
from ptst_pl.results.intervals import holm

BROKEN = "broken"
# (measure or `BROKEN`, suite, judge)
Column = tuple[str, str, str]


@dataclass(frozen=True)
class Way:
    """Trained under one template and served under another, perhaps with what the defence adds to it."""

    train: str
    test: str
    ptst: bool

    @property
    def title(self) -> str:
        """``chat:vanilla -> chat:llama (PTST)``."""
        return f"{self.train} -> {self.test}{' (PTST)' if self.ptst else ''}"


@dataclass(frozen=True)
class Cell:
    """A defence's rate, and how it differs from no defence."""

    rate: CellRate
    difference: float | None = None
    adjusted: float | None = None

    @property
    def beyond_chance(self) -> bool:
        """Whether the p-value after Holm's correction over the whole table is below 0.05."""
        return self.adjusted is not None and self.adjusted < 0.05


@dataclass(frozen=True)
class Cost:
    """Means over a row's runs; None where a run's folder does not tell."""

    seconds: float | None
    memory: float | None
    tokens: float | None


class DefenceTable:
    """All of it, from the runs' own files.

    Args:
        runs: with defences and, to be compared with, without.
    """

    def __init__(self, runs: Sequence[RunResults]) -> None:
        self._by_row = views(runs)
        self._views = [view for own in self._by_row.values() for view in own]
        self._prompted = safety_prompted(runs)

    @property
    def any(self) -> bool:
        """Whether there is a defence among the runs."""
        return any(view.defence.get("name", NO_DEFENCE) != NO_DEFENCE for view in self._views)

    @cached_property
    def rows(self) -> list[str]:
        """No defence first, then the others in the order given."""
        return sorted(self._by_row, key=lambda row: (not row.startswith(NO_DEFENCE), row != NO_DEFENCE))

    @cached_property
    def ways(self) -> list[Way]:
        """Same template on both sides first, then PTST."""
        trained = list(dict.fromkeys(view.train for view in self._views))
        served = dict.fromkeys(base_template(name) for view in self._views for name in view.templates())
        same = [Way(name, name, False) for name in trained if name in served]
        ptst = [Way(a, b, True) for a in trained for b in served if a != b and is_ptst(self._prompted, a, b)]
        return same + ptst

    @cached_property
    def columns(self) -> list[Column]:
        """Attack success by suite, over-refusal, helpfulness, and broken answers."""
        order = {"asr": 0, "over-refusal": 1, "helpfulness": 2, "rules": 3}
        found = {(r["measures"], r["suite"], r["judge"]) for view in self._views for r in view.run.rates}
        own = sorted(found, key=lambda column: (order.get(column[0], 4), column[1:]))
        first = next((column for column in own if column[0] == "asr"), None)
        return [*own, *([(BROKEN, *first[1:])] if first else [])]

    @cached_property
    def cells(self) -> dict[tuple[str, Way, Column], Cell]:
        """By row, way and column."""
        found = {
            (row, way, column): Cell(rate)
            for row in self.rows
            for way in self.ways
            for column in self.columns
            if (rate := self._rate(row, way, column)) is not None
        }
        tested = {key: test for key in found if (test := self._against_none(*key)) is not None}
        adjusted = holm([p_value for _, p_value in tested.values()])
        for (key, (difference, _)), p_value in zip(tested.items(), adjusted, strict=True):
            found[key] = Cell(found[key].rate, difference, p_value)
        return found

    def costs(self) -> dict[str, Cost]:
        """Training time, peak memory and tokens of every row."""
        return {
            row: _cost([_times(view.run) for view in own])
            for row, own in self._by_row.items()
            if all(view.own for view in own)
        }

    def _trained(self, row: str, way: Way) -> list[View]:
        return [view for view in self._by_row[row] if view.train == way.train]

    def _rate(self, row: str, way: Way, column: Column) -> CellRate | None:
        measure, suite, judge = column
        return rate_of(self._trained(row, way), way.test, suite, judge, BROKEN if measure == BROKEN else "rate")

    def _against_none(self, row: str, way: Way, column: Column) -> tuple[float, float] | None:
        """Difference and p-value against the undefended row that is trained alike."""
        measure, suite, judge = column
        usual = undefended(row)
        if row == usual or usual not in self._by_row or measure == BROKEN:
            return None
        sides = [
            [
                view.outcomes(way.test, suite, judge)
                for view in with_cell(self._trained(name, way), way.test, suite, judge)
            ]
            for name in (row, usual)
        ]
        found = pair(*sides) if all(sides) else None
        return None if found is None else (found.difference, found.p_value)


def _times(run: RunResults) -> Mapping[str, Any]:
    file = run.path / "times.json"
    try:
        fits = json.loads(file.read_text(encoding="utf-8"))["fits"]
    except (OSError, ValueError, KeyError):
        return {}
    if len(fits) != 1:  # of a resumed run no part tells of the whole
        return {}
    return {"seconds": fits[0]["seconds"]["training"], **{k: fits[0].get(k) for k in ("memory", "tokens")}}


def _cost(times: Sequence[Mapping[str, Any]]) -> Cost:
    def over(name: str) -> float | None:
        values = [one[name] for one in times if one.get(name) is not None]
        return mean(values) if values else None

    return Cost(over("seconds"), over("memory"), over("tokens"))
