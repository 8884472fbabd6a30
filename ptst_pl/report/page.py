"""One self-contained HTML page: nothing is fetched, and only the script and style that are shipped may act in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ptst_pl import __version__
from ptst_pl.report.agreement import Agreement, agreements
from ptst_pl.report.answers import Pack, all_answers, packs
from ptst_pl.report.cell_facts import cell_facts
from ptst_pl.report.comparable import incomparable, incomplete
from ptst_pl.report.comparisons import Comparison, comparisons, in_words
from ptst_pl.report.defended import DefenceTable
from ptst_pl.report.defended_table import page_section
from ptst_pl.report.headline import headline
from ptst_pl.report.heat_map import shades
from ptst_pl.report.matrix_panes import Pane, panes
from ptst_pl.report.page_figures import PageFigure, page_figures
from ptst_pl.report.provenance import decoding, provenance
from ptst_pl.report.runs import RunResults, undefined
from ptst_pl.report.safety_prompts import RULE, is_ptst, safety_prompted
from ptst_pl.results.scope import scope
from ptst_pl.results.visible_text import visible


@dataclass
class Report:
    """Everything that a page shows, worked out once; further pages hold further answers."""

    runs: Sequence[RunResults]
    missing: list[str]
    command: str
    warnings: list[str] = field(init=False)
    panes: list[Pane] = field(init=False)

    def __post_init__(self) -> None:
        self.warnings = incomparable(self.runs)
        self.missing = [*self.missing, *incomplete(self.runs), *undefined(self.runs)]
        self.panes = panes(self.runs)
        self.answers, self.unfinished = all_answers(self.runs)

    def pages(self, names: Sequence[str], all_packs: Sequence[Pack]) -> Iterator[str]:
        """The HTML of every page.

        Args:
            names: file names of the pages, which link to each other.
            all_packs: the answers of each.
        """
        figures = page_figures(self.runs)
        for number, pack in enumerate(all_packs):
            yield _render(self, figures if number == 0 else [], names, number, pack)

    def packs(self) -> list[Pack]:
        """The answers, a pack per page."""
        return list(packs(self.answers, self.runs))


def _render(report: Report, figures: Sequence[PageFigure], names: Sequence[str], number: int, pack: Pack) -> str:
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

    first = number == 0
    style, script = _style(), _asset("report.js")
    shown = report.panes if first else []
    numbers, cells = cell_facts(report.runs, shown)
    table = DefenceTable(report.runs)
    defended = page_section(table) if first and table.any else None
    paired = [_paired_line(found, report.runs) for found in comparisons(report.runs)] if first else []
    agreed = [_agreement_line(found) for found in agreements(report.answers)] if first else []
    prompted = safety_prompted(report.runs)
    environment = Environment(
        loader=DictLoader({"page": _asset("report.html.j2")}), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
        finalize=_shown,
    )  # fmt: skip
    trained = ", ".join(dict.fromkeys(run.row for run in report.runs))
    facts = {"runs": [_run_facts(run) for run in report.runs], "cells": cells}
    return environment.get_template("page").render(
        policy=policy(style, script),
        title="Safety after fine-tuning" if first else f"Safety after fine-tuning: answers, part {number + 1}",
        headline=headline(report.runs) if first else "", scope=_scope(report.runs) if first else "",
        subtitle=f"{len(report.runs)} runs: {trained}",
        style=Markup(style), script=Markup(script),
        sections=_sections(shown, figures, paired, agreed, defended is not None), defended=defended,
        warnings=report.warnings if first else [], missing=report.missing if first else [],
        panes=shown, cell_number=numbers,
        confidence=f"{100 * float(report.runs[0].rates[0]['confidence']):g}",
        ptst_rule=RULE, safety_templates=[name for name, has in prompted.items() if has],
        figures=figures, paired=paired, agreement=agreed,
        pages=names, page_number=number, answers_here=pack.rows, answers_total=len(report.answers),
        unfinished=report.unfinished,
        provenance=[provenance(run) for run in report.runs] if first else [],
        made_by=f"Made by ptst_pl {__version__}: {report.command}",
        numbers=Markup(block(facts)), pack=Markup(pack.data),
    )  # fmt: skip


def _scope(runs: Sequence[RunResults]) -> str:
    suites = {name: record for run in runs for name, record in (run.meta.get("suites") or {}).items()}
    return scope([record for run in runs for record in run.rates], suites)


def _shown(value: Any) -> Any:
    """What a template puts in a page: markup of ours as it is, any other text with its control characters visible."""
    return visible(value, lines=True) if isinstance(value, str) and not hasattr(value, "__html__") else value


def policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: this very style and this very script, and nothing else."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def block(value: Any) -> str:
    """JSON that can stand in a data block of a page: no character of it is markup."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return resources.files("ptst_pl.report").joinpath("assets", name).read_text(encoding="utf-8")


def _style() -> str:
    rules = [f".shade-{k} {{ background: {ground}; color: {ink}; }}" for k, (ground, ink) in enumerate(shades())]
    return _asset("report.css") + "\n".join(rules) + "\n"


def _sections(
    shown: Sequence[Pane],
    figures: Sequence[PageFigure],
    paired: Sequence[object],
    agreed: Sequence[object],
    defended: bool,
) -> list[tuple[str, str]]:
    found = [("matrix", "Matrix")] if shown else []
    found += [(figure.id, figure.short) for figure in figures]
    found += [("defences", "Defences")] if defended else []
    found += [("paired", "Paired tests")] if paired else []
    found += [("agreement", "Judges")] if agreed else []
    return [*found, ("answers", "Answers"), ("provenance", "Provenance")]


def _run_facts(run: RunResults) -> dict[str, Any]:
    return {
        "path": str(run.path), "trained": run.trained, "untouched": run.untouched, "last": run.last_step,
        "decoding": decoding(run),
    }  # fmt: skip


def _paired_line(found: Comparison, runs: Sequence[RunResults]) -> dict[str, Any]:
    prompted = safety_prompted(runs)
    other = next(run.train_template for run in runs if run.trained == found.other)
    ptst = is_ptst(prompted, other, found.test)
    low, high = (100 * bound for bound in found.interval)
    dropped = f" (+{found.dropped} left out, not scored by all)" if found.dropped else ""
    return {
        "words": in_words(found, ptst), "ptst": ptst, "suite": found.suite, "judge": found.judge,
        "n": f"{found.n}{dropped}", "runs": f"{found.runs[0]} / {found.runs[1]}",
        "points": f"{100 * found.difference:+.1f} [{low:+.0f}, {high:+.0f}]",
        "p": f"{found.p_value:.2g}", "adjusted": f"{found.adjusted:.2g}",
    }  # fmt: skip


def _agreement_line(found: Agreement) -> dict[str, Any]:
    interval = "" if found.interval is None else f" [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"
    return {
        "measures": found.measures, "first": found.first, "second": found.second, "n": found.n,
        "unscored": found.unscored, "agree": "-" if found.agree is None else f"{100 * found.agree:.1f}",
        "kappa": "-" if found.kappa is None else f"{found.kappa:.2f}{interval}",
        "only_first": found.only_first, "only_second": found.only_second,
    }  # fmt: skip
