"""Result tables for spreadsheets, papers and readmes: CSV, LaTeX and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ptst_pl.report.matrix_panes import Pane, PaneCell
from ptst_pl.report.runs import RunResults
from ptst_pl.results.visible_text import visible

COLUMNS = (
    "run", "trained_under", "tested_under", "suite", "suite_sha256", "measures", "judge", "judge_version", "step",
    "last_step", "n", "unscored", "k", "rate", "low", "high", "confidence", "mean_score", "score_low", "score_high",
    "harmful", "refused", "broken", "correct", "undefined",
)  # fmt: skip
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def results_csv(runs: Sequence[RunResults]) -> str:
    """One line per rate record of the files, every step: shares as fractions, as stored."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        for r in run.rates:
            step = int(r["step"])
            sha = run.meta.get("suites", {}).get(r["suite"], {}).get("sha256", "")
            own = {
                "run": str(run.path), "trained_under": run.trained if step else run.untouched,
                "tested_under": r["template"], "suite_sha256": sha, "last_step": int(step == run.last_step),
            }  # fmt: skip
            writer.writerow([_cell(own.get(name, r.get(name))) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A value that a spreadsheet takes for what it is: texts that look like formulas get an apostrophe."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = visible(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "'") else text


def tables_markdown(panes: Sequence[Pane]) -> str:
    """Every matrix as a Markdown table, PTST cells bold."""
    blocks = []
    for pane in panes:
        head = ["trained under / tested under", *map(_md, pane.columns)]
        lines = [[_md(row), *(_md_cell(pane.cells.get((row, test))) for test in pane.columns)] for row in pane.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])
        blocks.append(f"### {_md(pane.title)}\n\n{table}\n\n{_md(_note(pane))}")
    return "\n\n".join(blocks) + "\n"


def tables_tex(panes: Sequence[Pane]) -> str:
    """Every matrix as a LaTeX table in the form of the paper's: mean and standard deviation; needs no package."""
    return "\n".join(_tex_table(pane) for pane in panes)


def _tex_table(pane: Pane) -> str:
    lines = [
        r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * len(pane.columns)}}}", r"\hline",
        " & ".join(["trained / tested under", *map(tex, pane.columns)]) + r" \\", r"\hline",
    ]  # fmt: skip
    lines += [
        " & ".join([tex(row), *(_tex_cell(pane.cells.get((row, test))) for test in pane.columns)]) + r" \\"
        for row in pane.rows
    ]
    note = tex(_note(pane)).replace("±", r"$\pm$")
    caption = rf"\caption{{{tex(pane.title)}. {note}}}"
    return "\n".join([*lines, r"\hline", r"\end{tabular}", caption, r"\end{table}", ""])


def _note(pane: Pane) -> str:
    rates = [cell.rate for cell in pane.cells.values() if cell.rate]
    prompts, runs = {rate.n for rate in rates}, {rate.seeds for rate in rates}
    told = [f"n = {_range(prompts)} prompts"] if rates else []
    if max(runs, default=1) > 1:
        told.append(f"mean ± sample standard deviation over {_range({r for r in runs if r > 1})} runs")
    if any(cell.ptst for cell in pane.cells.values()):
        told.append("bold: PTST")
    unscored = sum(cell.unscored for cell in pane.cells.values())
    return "; ".join(told) + "." + (f" {unscored} answers unscored." if unscored else "")


def _range(values: set[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def tex(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_TEX.get(c, c) for c in visible(text))


def _md(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_[]|<>~$" else c for c in visible(text))


def _tex_cell(cell: PaneCell | None) -> str:
    if cell is None or cell.rate is None:
        return "--" if cell is None or not cell.why else "undefined"
    spread = f" $\\pm$ {cell.spread.removeprefix('± ')}" if cell.spread else ""
    return rf"\textbf{{{cell.mean}{spread}}}" if cell.ptst else f"{cell.mean}{spread}"


def _md_cell(cell: PaneCell | None) -> str:
    if cell is None or cell.rate is None:
        return "-" if cell is None or not cell.why else "undefined"
    number = f"{cell.mean} {cell.spread}".strip()
    return f"{f'**{number}**' if cell.ptst else number} {cell.interval}".strip()
