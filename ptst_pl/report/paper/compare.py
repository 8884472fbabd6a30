"""Measured beside published, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from ptst_pl import InputError, did_you_mean
from ptst_pl.report.paper.caveats import marks
from ptst_pl.report.paper.our_rates import Measured, Record, collect
from ptst_pl.report.paper.published import Metric, PaperTable, Printed, metrics
from ptst_pl.results.intervals import Difference, Side, compare, holm, mean_interval

NOT_MEASURED, UNDEFINED, NOT_TESTED = "not measured", "undefined", "not tested"
DIFFERS, NO_DIFFERENCE = "differs", "no difference shown"
CONFIDENCE, ALPHA = 0.95, 0.05


@dataclass(frozen=True)
class Compared:
    """One cell: what is printed, what was measured, and what the two say together.

    Attributes:
        mean, low, high: what was measured, with its interval over prompts and runs; None where not or undefined.
        deviation: sample standard deviation over runs.
        runs: number of runs measured.
        n: prompts that each run scored, at least.
        difference: measured minus published; None where nothing is tested.
        holm: p value after Holm's correction over all cells that are tested.
        finding: one of the words above.
        marks: in what else the two differ.
    """

    table: str
    metric: Metric
    row: str
    column: str
    printed: Printed
    finding: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    runs: int = 0
    n: int = 0
    difference: Difference | None = None
    holm: float | None = None
    marks: tuple[str, ...] = ()


def compare_tables(runs: Sequence[Measured], tables: Sequence[PaperTable], judge: str | None) -> list[Compared]:
    """Every published cell of the tables, in print order.

    Raises:
        InputError: no cell was measured, by no judge that could stand for the paper's, or twice from one seed.
    """
    _check_judge(runs, judge)
    cells: list[Compared] = []
    for table in tables:
        for name, printed in table.cells.items():
            metric = metrics()[name]
            found = collect(runs, table, metric, _judge(runs, metric, judge))
            cells += [
                _cell(table, metric, row, column, value, found.get((row, column), []))
                for (row, column), value in printed.items()
            ]
    if all(cell.finding == NOT_MEASURED for cell in cells):
        raise InputError(_nothing(runs, tables))
    return _corrected(cells)


def _nothing(runs: Sequence[Measured], tables: Sequence[PaperTable]) -> str:
    records = [record for run in runs for record in run.results.rates]
    suites, templates = (sorted({str(record[key]) for record in records}) for key in ("suite", "template"))
    wanted = sorted({metrics()[name].suite for table in tables for name in table.cells})
    columns = ", ".join(tables[0].templates[column] for column in tables[0].columns)
    return (
        f"no cell of table {', '.join(table.name for table in tables)} is in these results: they have the suites "
        f"{', '.join(suites)} under {', '.join(templates)}; wanted are {', '.join(wanted)} under {columns}, "
        "trained under a template of the table's rows"
    )


def _judge(runs: Sequence[Measured], metric: Metric, asked: str | None) -> str:
    """The judge whose verdicts stand for the metric: the one asked for, the paper's, or the only one there is."""
    there = sorted({r["judge"] for run in runs for r in run.results.rates if r["suite"] == metric.suite})
    if asked in there:
        return str(asked)
    if not there or metric.judge in there or len(there) == 1:
        return metric.judge if not there or metric.judge in there else there[0]
    raise InputError(f"{metric.suite} was judged by {', '.join(there)}; say which with --judge")


def _check_judge(runs: Sequence[Measured], asked: str | None) -> None:
    there = sorted({r["judge"] for run in runs for r in run.results.rates})
    if asked is not None and asked not in there:
        raise InputError(f"--judge {asked}: not in these results{did_you_mean(asked, there)} ({', '.join(there)})")


def _cell(
    table: PaperTable, metric: Metric, row: str, column: str, printed: Printed, found: list[tuple[Measured, Record]]
) -> Compared:
    blank = Compared(table.name, metric, row, column, printed, NOT_MEASURED)
    if not found:
        return blank
    blank = replace(
        blank, runs=len(found), n=min(int(record["n"]) for _, record in found),
        marks=tuple(marks(found, table, metric, row, column, printed)),
    )  # fmt: skip
    records = [record for _, record in found]
    key = "mean_score" if metric.unit == "score" else "rate"
    if any(record.get(key) is None for record in records):
        why = [f"undefined: {r.get('undefined', f'no {key}')}" for r in records if r.get(key) is None]
        return replace(blank, finding=UNDEFINED, marks=(*dict.fromkeys(why), *blank.marks))
    values = [float(record[key]) for record in records]
    spread = variance(values) if len(values) > 1 else None
    blank = replace(blank, mean=fmean(values), deviation=None if spread is None else spread**0.5)
    if metric.unit == "score":
        low, high = (r[0].get(k) if len(r := records) == 1 else None for k in ("score_low", "score_high"))
        return replace(blank, finding=NOT_TESTED, low=low, high=high)
    mean, low, high = mean_interval([(int(r["k"]), int(r["n"])) for r in records], CONFIDENCE)
    measured = Side(mean, blank.n, len(values), spread)
    difference = compare(measured, _published(printed, metric), CONFIDENCE, table.read_off)
    return replace(blank, finding="", low=low, high=high, difference=difference)


def _published(printed: Printed, metric: Metric) -> Side:
    """The printed cell; its population variance over runs made a sample variance."""
    spread = None
    if printed.deviation is not None and printed.runs > 1:
        spread = printed.deviation**2 * printed.runs / (printed.runs - 1)
    return Side(printed.mean, metric.n, printed.runs, spread)


def _corrected(cells: Sequence[Compared]) -> list[Compared]:
    tested = [cell for cell in cells if cell.difference is not None]
    adjusted = iter(holm([cell.difference.p_value for cell in tested if cell.difference]))
    return [
        replace(cell, holm=(p := next(adjusted)), finding=DIFFERS if p < ALPHA else NO_DIFFERENCE)
        if cell.difference is not None
        else cell
        for cell in cells
    ]
