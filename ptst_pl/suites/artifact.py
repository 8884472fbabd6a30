"""JailbreakBench's stored attack artifacts: finished attack prompts, one per behaviour.

The paper's GCG column is such a file, made by others. Its form (Chao et al. 2024, arXiv 2404.01318)::

    {"parameters": {"model": "...", "method": "GCG", "attack_type": "white_box", ...},
     "jailbreaks": [{"index": 0, "goal": "...", "behavior": "...", "category": "...", "prompt": "..." or null, ...}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.suites.rows import RowFile


def is_artifact(value: Any) -> bool:
    """Whether a JSON value is a stored attack artifact."""
    return isinstance(value, dict) and isinstance(value.get("jailbreaks"), list)


def read_artifact(path: Path, value: Mapping[str, Any]) -> RowFile:
    """The rows with a prompt; those without one (``null``: the attack gave nothing) are counted.

    A row without a prompt cannot be asked of a model, so it is no prompt of the suite; as the share
    of successes changes with what it is a share of, a note says how many there are.

    Raises:
        InputError: a row is no object, or has no ``prompt`` key.
    """
    rows = value["jailbreaks"]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or "prompt" not in row:
            found = f"keys {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
            raise InputError(f"{path} row {number}: found {found}, expected an object with index, category and prompt")
    kept = [
        (number, {"id": row.get("index"), **row}) for number, row in enumerate(rows, 1) if row["prompt"] is not None
    ]
    missing = len(rows) - len(kept)
    note = (
        f"the attack gave no prompt for {missing} of {len(rows)} behaviours: they are not among the prompts, "
        f"so a rate here is over the other {len(kept)}"
    )
    return RowFile(kept, _statement(value.get("parameters")), (note,) if missing else (), missing)


def _statement(parameters: Any) -> str:
    """What the file says of itself."""
    named = parameters if isinstance(parameters, dict) else {}
    parts = [str(named[key]) for key in ("method", "attack_type", "model") if named.get(key)]
    return f"JailbreakBench attack artifact ({', '.join(parts)})" if parts else "JailbreakBench attack artifact"
