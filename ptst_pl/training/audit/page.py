"""The ranked rows as a page that opens from disk."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ptst_pl.training.audit.rows import Audited, families_of

_LONGEST = 600
_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-top:1px solid #8884;padding:.4rem;text-align:left;"
    "vertical-align:top}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font-size:12px}.alarm{color:#b00020}"
)


def audit_page(title: str, verdict: str, rows: Sequence[Audited], most: int) -> str:
    """The verdict, the families of format, and the first ``most`` rows.

    Args:
        title: of the data.
        verdict: one line.
        rows: ranked.
        most: how many to show.
    """
    kinds = "".join(
        f"<tr><td>{escape(name)}{' (odd)' if odd else ''}</td><td>{count:,}</td></tr>"
        for name, count, odd in families_of(rows)
    )
    shown = "".join(map(_row, rows[:most]))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>audit: {escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>audit: {escape(title)}</h1><p><b>{escape(verdict)}</b></p>"
        f"<h2>Formats of answers</h2><table><tr><th>family</th><th>rows</th></tr>{kinds}</table>"
        f"<h2>Rows to look at, of {len(rows):,}</h2><table><tr><th>row</th><th>why</th><th>question</th><th>answer</th>"
        f"</tr>{shown}</table></html>\n"
    )


def _row(row: Audited) -> str:
    loss = "" if row.loss is None else f"loss {row.loss:.2f} a token<br>"
    why = "".join(f'<span class="alarm">{escape(alarm)}</span><br>' for alarm in row.alarms)
    why += f"{loss}{row.surprise:.1f} bits a character<br>{escape(row.family)}"
    texts = "".join(f"<td><pre>{escape(text[:_LONGEST])}</pre></td>" for text in (row.question, row.answer))
    return f"<tr><td>{row.number}</td><td>{why}</td>{texts}</tr>"
