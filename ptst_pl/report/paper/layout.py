"""How compared cells are written: plain text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from itertools import groupby

from ptst_pl.report.paper.compare import ALPHA, DIFFERS, Compared
from ptst_pl.report.paper.published import PaperTable
from ptst_pl.results.rates_table import grid

HEAD = ("trained", "tested", "published", "measured", "n", "difference [95 %]", "Holm p", "finding", "marks")
_HOW_TESTED = (
    "Difference: measured minus published in points, with Newcombe's interval widened by the variance over runs; "
    "p values are two-sided, corrected by Holm over the {count} cell{s} tested together, and a difference counts "
    f"below {ALPHA:g}. 'no difference shown' does not say that two numbers are equal. "
    "± is the standard deviation over runs, divided by runs - 1 for measured and by runs for published numbers."
)


def text(cells: Sequence[Compared], tables: Sequence[PaperTable]) -> str:
    """Aligned columns for a terminal."""
    return _document(cells, tables, lambda title: title, lambda lines: grid(lines))


def markdown(cells: Sequence[Compared], tables: Sequence[PaperTable]) -> str:
    """Tables for a Markdown file."""
    return _document(cells, tables, lambda title: f"### {title}", _markdown_table)


def as_csv(cells: Sequence[Compared], tables: Sequence[PaperTable]) -> str:
    """One line per cell, shares as fractions, every mark spelled out."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["table", "metric", "trained", "tested", "published", "published_deviation", "published_runs", "measured",
         "low", "high", "deviation", "runs", "n", "difference", "difference_low", "difference_high", "p", "holm_p",
         "finding", "marks"]
    )  # fmt: skip
    for c in cells:
        d = c.difference
        told = (d.value, d.low, d.high, d.p_value) if d else (None,) * 4
        writer.writerow(
            [c.table, c.metric.name, c.row, c.column, c.printed.mean, c.printed.deviation, c.printed.runs, c.mean,
             c.low, c.high, c.deviation, c.runs, c.n, *told, c.holm, c.finding, "; ".join(c.marks)]
        )  # fmt: skip
    return out.getvalue()


FORMATS = {"text": text, "markdown": markdown, "csv": as_csv}


def _document(
    cells: Sequence[Compared],
    tables: Sequence[PaperTable],
    title: Callable[[str], str],
    table: Callable[[list[list[str]]], str],
) -> str:
    letters = {mark: _letter(k) for k, mark in enumerate(dict.fromkeys(m for cell in cells for m in cell.marks))}
    blocks = []
    for part in tables:
        blocks.append(title(f"Table {part.name}: {part.title}".replace("Table fig", "Figure ")))
        own = [cell for cell in cells if cell.table == part.name]
        for _, group in groupby(own, key=lambda cell: cell.metric.name):
            lines = list(group)
            blocks.append(f"{lines[0].metric.name}: {lines[0].metric.how}")
            blocks.append(table([list(HEAD), *(_line(cell, letters) for cell in lines)]))
        blocks += [f"The paper's table: {' '.join(note.split())}." for note in part.notes]
        if part.read_off:
            blocks.append(f"Read off a plot: published values may be wrong by {100 * part.read_off:g} points.")
    if letters:
        blocks.append("\n".join(f"[{letter}] {mark}" for mark, letter in letters.items()))
    return "\n\n".join([*blocks, _summary(cells)]) + "\n"


def _summary(cells: Sequence[Compared]) -> str:
    tested = [cell for cell in cells if cell.difference]
    differ = [cell for cell in tested if cell.finding == DIFFERS]
    marked = sum(bool(cell.marks) for cell in differ)
    told = f"{len(cells)} published cells: {len(tested)} compared, {len(differ)} differ by more than chance"
    told += f", {marked} of these with marks, which may be why" if marked else ""
    if not tested:
        return f"{told}."
    return f"{told}.\n{_HOW_TESTED.format(count=len(tested), s='' if len(tested) == 1 else 's')}"


def _line(cell: Compared, letters: dict[str, str]) -> list[str]:
    d = cell.difference
    points = f"{100 * d.value:+.2f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]" if d else "-"
    if cell.metric.unit == "score" and cell.mean is not None:
        points = f"{cell.mean - cell.printed.mean:+.3f}"
    marked = " ".join(sorted(letters[mark] for mark in cell.marks))
    return [
        cell.row, cell.column, _published(cell), _measured(cell), str(cell.n) if cell.n else "-", points,
        "-" if cell.holm is None else f"{cell.holm:.2g}", cell.finding, marked,
    ]  # fmt: skip


def _published(cell: Compared) -> str:
    printed, is_score = cell.printed, cell.metric.unit == "score"
    spread = "" if printed.deviation is None else f" ± {100 * printed.deviation:.2f}"
    return f"{printed.mean:.3f}" if is_score else f"{100 * printed.mean:.2f}{spread}"


def _measured(cell: Compared) -> str:
    if cell.mean is None:
        return "-"
    if cell.metric.unit == "score":
        return f"{cell.mean:.3f}"
    spread = "" if cell.deviation is None else f" ± {100 * cell.deviation:.2f}"
    assert cell.low is not None
    assert cell.high is not None
    return f"{100 * cell.mean:.2f}{spread} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"


def _letter(k: int) -> str:
    return chr(ord("a") + k) if k < 26 else f"{_letter(k // 26 - 1)}{_letter(k % 26)}"


def _markdown_table(lines: list[list[str]]) -> str:
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])
