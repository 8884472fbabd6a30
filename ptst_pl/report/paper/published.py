"""The tables that the paper prints, as data; see ``tables.yaml`` for what a cell is and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ptst_pl import InputError, did_you_mean
from ptst_pl.report.runs import UNTOUCHED

NO_FT = "No FT"
SAFETY = "+safety"  # rows trained on safety data too
_CELL = re.compile(r"(\d+(?:\.\d+)?) \((\d+\.\d+)\)")


@dataclass(frozen=True)
class Metric:
    """How one kind of number was measured.

    Attributes:
        name: key in ``tables.yaml``.
        suite: name of the prompt suite here; ``n`` prompts, all of them.
        measures: ``asr`` or ``helpfulness``.
        judge: the judge here that is nearest to the paper's.
        unit: ``percent``, or ``score`` for a mean score.
        decoding: settings that are known.
    """

    name: str
    suite: str
    measures: str
    judge: str
    n: int
    how: str
    unit: str = "percent"
    decoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Printed:
    """A cell as printed, as shares (or a score).

    ``deviation`` is the population standard deviation over ``runs``; None where none is printed.
    """

    mean: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class PaperTable:
    """One table, or one figure whose points are cells.

    Attributes:
        name: ``1a``, ``2``, ``fig3a``.
        templates: the paper's short names -> template names here.
        cells: metric -> (row, column), both as short names -> what is printed.
        read_off: how far a value read off a plot may be wrong, as a share; 0 for printed numbers.
    """

    name: str
    title: str
    model: str
    training: Mapping[str, Any]
    templates: Mapping[str, str]
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    cells: Mapping[str, Mapping[tuple[str, str], Printed]]
    decoding: Mapping[str, Any]
    read_off: float = 0.0

    def row_name(self, short: str) -> str:
        """A row as result files name it: its training template, with or without safety data."""
        if short == NO_FT:
            return UNTOUCHED
        template = self.templates[short.removesuffix(SAFETY)]
        return f"{template} {SAFETY}" if short.endswith(SAFETY) else template

    @property
    def rows(self) -> tuple[str, ...]:
        """Short names of all rows."""
        return tuple(dict.fromkeys(row for cells in self.cells.values() for row, _ in cells))


@cache
def _data() -> dict[str, Any]:
    text = (resources.files("ptst_pl.report.paper") / "tables.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@cache
def metrics() -> dict[str, Metric]:
    """All metrics by name."""
    return {name: Metric(name, **values) for name, values in _data()["metrics"].items()}


@cache
def tables() -> dict[str, PaperTable]:
    """All tables by name."""
    return {name: _table(name, values) for name, values in _data()["tables"].items()}


def curves() -> dict[str, Any]:
    """Points of the figures that are curves, read off the plots."""
    return dict(_data()["curves"])


def find_tables(name: str) -> list[PaperTable]:
    """The table of that name, or all parts of it: ``1`` is 1a to 1d.

    Raises:
        InputError: no such table.
    """
    known = tables()
    wanted = name.lower().removeprefix("table").strip()
    found = [known[wanted]] if wanted in known else [known[n] for n in known if n[:-1] == wanted and n[-1].isalpha()]
    if not found and wanted in curves():
        raise InputError(f"--table {name}: a curve and no table; draw it with: ptst_pl report RUN ... --figure FILE")
    if not found:
        raise InputError(f"--table {name}: unknown{did_you_mean(wanted, known)} (known: {', '.join(known)})")
    return found


def _table(name: str, values: Mapping[str, Any]) -> PaperTable:
    columns = tuple(values["columns"])
    return PaperTable(
        name,
        values["title"],
        values["model"],
        values["training"],
        _data()["templates"][values["templates"]],
        columns,
        tuple(values.get("notes", ())),
        {
            metric: {
                (row, column): _printed(cell, metrics()[metric].unit, _runs(values, row))
                for row, cells in rows.items()
                for column, cell in zip(columns, cells, strict=True)
                if cell is not None
            }
            for metric, rows in values["values"].items()
        },
        values.get("decoding", {}),
        values.get("read_off", 0.0) / 100,
    )


def _runs(values: Mapping[str, Any], row: str) -> int:
    """How many runs a row's cells are means of."""
    if row == NO_FT:
        return int(values.get("untuned_runs", 1))
    return int(values.get("row_runs", {}).get(row, values["runs"]))


def _printed(cell: float | str, unit: str, runs: int) -> Printed:
    mean, deviation = (_CELL.fullmatch(cell) or _no_cell(cell)).groups() if isinstance(cell, str) else (cell, None)
    scale = 1.0 if unit == "score" else 100.0
    return Printed(float(mean) / scale, None if deviation is None else float(deviation) / scale, runs)


def _no_cell(cell: str) -> re.Match[str]:
    raise ValueError(f"tables.yaml: {cell!r} is no 'mean (standard deviation)'")
