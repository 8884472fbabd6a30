"""What ``--html`` and ``--out`` leave on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ptst_pl.report.curves import all_series, curves_figure, trained_rows
from ptst_pl.report.figures import plain_text, save
from ptst_pl.report.heat_map import heat_map
from ptst_pl.report.page import Report
from ptst_pl.report.tables import results_csv, tables_markdown, tables_tex
from ptst_pl.report.tradeoff import tradeoff_figure, tradeoff_pairs
from ptst_pl.results.records import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_html(report: Report, path: Path) -> list[Path]:
    """Write the page; answers that do not fit go to pages beside it, ``<name>-2.html`` and so on.

    Returns:
        The files, the page itself first.
    """
    packs = report.packs()
    files = [
        path.with_name(f"{path.stem}-{number + 1}{path.suffix}") if number else path for number in range(len(packs))
    ]
    for file, text in zip(files, report.pages([file.name for file in files], packs), strict=True):
        write_text(file, text)
    for stale in _further_pages(path) - set(files):  # of an earlier report with more answers
        stale.unlink()
    return files


def _further_pages(path: Path) -> set[Path]:
    pattern = re.compile(rf"{re.escape(path.stem)}-\d+{re.escape(path.suffix)}")
    return {file for file in path.parent.iterdir() if pattern.fullmatch(file.name)}


def write_folder(report: Report, folder: Path) -> list[Path]:
    """Write report.html, results.csv, tables.md, tables.tex and figures/*.png and *.svg."""
    files = write_html(report, folder / "report.html")
    texts = {
        "results.csv": results_csv(report.runs), "tables.md": tables_markdown(report.panes),
        "tables.tex": tables_tex(report.panes),
    }  # fmt: skip
    for name, text in texts.items():
        write_text(folder / name, text)
        files.append(folder / name)
    for name, draw in _figures(report):
        with plain_text():
            figure = draw()
        for ending in ("png", "svg"):
            files.append(folder / "figures" / f"{name}.{ending}")
            save(figure, files[-1])
    return files


def _figures(report: Report) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """File name without ending, and how to draw it."""
    runs, taken = report.runs, set[str]()

    def name(*parts: str) -> str:
        plain = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-.")[:60] or "x" for part in parts)
        number = next(k for k in range(1, 10**6) if (plain if k == 1 else f"{plain}-{k}") not in taken)
        taken.add(plain if number == 1 else f"{plain}-{number}")
        return plain if number == 1 else f"{plain}-{number}"

    for pane in report.panes:
        yield name("matrix", pane.measures, pane.suite, pane.judge), partial(heat_map, pane)
    if not trained_rows(runs):
        return
    measures = all_series(runs)
    for one, measure in measures.items():
        yield name("curves", measure, *one), partial(curves_figure, runs, [one], measures, 3)
    for asr, helpful in tradeoff_pairs(runs):
        yield name("tradeoff", *asr, *helpful), partial(tradeoff_figure, runs, asr, helpful)
