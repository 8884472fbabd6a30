"""The table of defences as text, and as cells with a dot and its interval for the page."""

from __future__ import annotations

from typing import Any

from ptst_pl.report.configs import NO_DEFENCE
from ptst_pl.report.defended import BROKEN, Cell, Cost, DefenceTable, Way
from ptst_pl.results.rates_table import grid

HEADS = {
    "asr": "ASR",
    "over-refusal": "over-refusal",
    "helpfulness": "helpful",
    "rules": "rules kept",
    BROKEN: "broken",
}
NOTE = (
    "in %, mean over seeds [interval over prompts and seeds]; * differs from no defence by more than chance "
    "(Holm's correction over the whole table)"
)


def defence_tables(table: DefenceTable) -> str:
    """A block of text per way to train and serve, and one of costs; empty without a defence among the runs."""
    if not table.any:
        return ""
    blocks = [f"defences, {NOTE}"]
    for way in table.ways:
        head = ["defence", *(_head(column) for column in table.columns)]
        lines = [
            [row, *(_text(table.cells.get((row, way, column))) for column in table.columns)]
            for row in table.rows
            if any((row, way, column) in table.cells for column in table.columns)
        ]
        blocks.append(f"{way.title}\n{grid([head, *lines])}")
    return "\n\n".join([*blocks, _costs(table)])


def _head(column: tuple[str, str, str]) -> str:
    measure, suite, _ = column
    return f"{HEADS.get(measure, measure)} {suite}"


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    rate = cell.rate
    mark = " *" if cell.beyond_chance else ""
    return f"{100 * rate.mean:.1f} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]{mark}"


def _costs(table: DefenceTable) -> str:
    costs = table.costs()
    usual = costs.get(NO_DEFENCE)
    lines = [[row, *cost_words(costs[row], usual)] for row in table.rows if row in costs]
    return "cost of training beside no defence\n" + grid([["defence", "time", "peak memory", "tokens"], *lines])


def cost_words(cost: Cost, usual: Cost | None) -> list[str]:
    """Seconds, GB and tokens, each with its ratio to no defence."""
    forms = (("seconds", 1.0, "{:.1f} s"), ("memory", 1e9, "{:.2f} GB"), ("tokens", 1e3, "{:.0f} k"))
    found = []
    for name, unit, form in forms:
        value, base = getattr(cost, name), getattr(usual, name) if usual else None
        ratio = f" ({value / base:.2f}x)" if value and base else ""
        found.append("-" if value is None else form.format(value / unit) + ratio)
    return found


def page_section(table: DefenceTable) -> dict[str, Any]:
    """Everything for the page's section: ways, each with its rows of cells."""
    costs, usual = table.costs(), table.costs().get(NO_DEFENCE)
    return {
        "columns": [_head(column) for column in table.columns],
        "note": NOTE,
        "ways": [{"title": way.title, "ptst": way.ptst, "rows": _page_rows(table, way)} for way in table.ways],
        "costs": [{"name": row, "words": cost_words(costs[row], usual)} for row in table.rows if row in costs],
    }


def _page_rows(table: DefenceTable, way: Way) -> list[dict[str, Any]]:
    rows = []
    for row in table.rows:
        cells = [table.cells.get((row, way, column)) for column in table.columns]
        if any(cells):
            rows.append(
                {"name": row, "usual": row.startswith(NO_DEFENCE), "cells": [_page_cell(cell) for cell in cells]}
            )
    return rows


def _page_cell(cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {"text": "-", "sort": "", "line": None}
    low, mid, high = (round(100 * value, 1) for value in (cell.rate.low, cell.rate.mean, cell.rate.high))
    return {"text": _text(cell), "sort": f"{mid:.1f}", "line": (low, mid, high)}
