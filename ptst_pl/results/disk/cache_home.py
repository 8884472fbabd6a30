"""Where things are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """``$PTST_PL_CACHE``, or ``ptst_pl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("PTST_PL_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "ptst_pl"
