"""The train x test matrix as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptst_pl.report.figures import SCALE, label, new_figure
from ptst_pl.report.matrix_panes import SHADES, Pane

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shades() -> list[tuple[str, str]]:
    """(background, ink) for each shade from 0 to 100 %, the ink being black or white, whichever reads better."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colours = [to_hex(colormaps[SCALE](number / (SHADES - 1))) for number in range(SHADES)]
    return [(colour, max(("#ffffff", "#000000"), key=lambda ink: contrast(colour, ink))) for colour in colours]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours ``#rrggbb``. Source: WCAG 2.2, definitions of contrast ratio and luminance."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def heat_map(pane: Pane) -> Figure:
    """Numbers in every cell; PTST cells have a double frame."""
    from matplotlib.patches import Rectangle

    figure = new_figure(2.4 + 1.35 * len(pane.columns), 1.2 + 0.75 * len(pane.rows))
    axis, colours = figure.subplots(), shades()
    for (train, test), cell in pane.cells.items():
        x, y = pane.columns.index(test), pane.rows.index(train)
        ground, ink = ("#ffffff", "#000000") if cell.shade is None else colours[cell.shade]
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=ground, edgecolor="#ffffff"))
        if cell.ptst:
            axis.add_patch(Rectangle((x + 0.04, y + 0.05), 0.92, 0.9, fill=False, edgecolor="#D55E00", lw=2.2))
        first = f"{cell.mean} {cell.spread}".strip()
        axis.text(x + 0.5, y + 0.36, first, color=ink, ha="center", va="center", fontsize=9, weight="bold")
        axis.text(x + 0.5, y + 0.66, f"{cell.interval}\n{cell.count}", color=ink, ha="center", va="center", fontsize=6)
    axis.set_xlim(0, len(pane.columns))
    axis.set_ylim(len(pane.rows), 0)
    axis.set_xticks([k + 0.5 for k in range(len(pane.columns))], list(map(label, pane.columns)), fontsize=8)
    axis.set_yticks([k + 0.5 for k in range(len(pane.rows))], list(map(label, pane.rows)), fontsize=8)
    axis.set_xlabel("tested under")
    axis.set_ylabel("trained under")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    marked = ", PTST framed" if any(cell.ptst for cell in pane.cells.values()) else ""
    axis.set_title(label(f"{pane.title}{marked}", 90), fontsize=9)
    return figure
