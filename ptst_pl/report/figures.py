"""How figures look and are written: the same bytes for the same numbers, text taken as text."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptst_pl.results.records import write_atomically
from ptst_pl.results.visible_text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
MARKERS = "osD^vPX"
# Perceptually even, also for red-green-blind readers.
SCALE = "cividis"
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "ptst_pl",
    "text.parse_math": False,
    "svg.fonttype": "path",
    "font.size": 9,
}


@contextmanager
def plain_text() -> Iterator[None]:
    """Names are no formulas, and a letter that the font lacks is no reason to warn."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph.*missing from.*")
        yield


def label(text: str, most: int = 36) -> str:
    """A name as it can stand in a figure: control characters visible, long ones on several lines."""
    return textwrap.fill(visible(text), most, max_lines=4, placeholder=" ...")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; call and draw within ``plain_text``."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG or SVG, as the name's ending says, whole or not at all."""
    ending = path.suffix.removeprefix(".") or "png"
    with plain_text():
        write_atomically(path, lambda temporary: _write(figure, temporary, ending))


def svg_text(figure: Figure) -> str:
    """The figure as SVG."""
    out = io.StringIO()
    with plain_text():
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _write(figure: Figure, path: Path, ending: str) -> None:
    metadata = {"Date": None} if ending == "svg" else {}
    figure.savefig(path, format=ending, dpi=130, metadata=metadata)
