"""In one sentence: what an attack success rate is a statement about, and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def scope(rates: Iterable[Mapping[str, Any]], suites: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the rates that look for harm; empty where there are none.

    Args:
        rates: rate records.
        suites: suite -> its record, for the encodings.
    """
    found = [record for record in rates if record["measures"] == "asr"]
    if not found:
        return ""
    names, templates, judges = (sorted({str(r[key]) for r in found}) for key in ("suite", "template", "judge"))
    encodings = sorted({str((suites.get(name) or {}).get("encoding") or "plain text") for name in names})
    return (
        f"What an attack success rate here is a statement about: prompts of {_listed(names)}, as {_listed(encodings)}, "
        f"under {_listed(templates)}, by {_listed(judges)}. It says nothing about other prompts, languages, encodings, "
        "longer conversations or trigger words; a model can be trained to be unsafe there alone."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
