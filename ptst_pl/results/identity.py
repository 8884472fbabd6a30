"""What a run is: one small record, written once, and compared in one place.

The record says of which weights, training text, data and settings a number is. It stands in every checkpoint and in
every ``results.json``::

    {"base": {"name": ..., "revision": ..., "config": <hash>, "weights": <hash>, perhaps "adapter": ...},
     "training": {"template": {...}, "chat_format": ..., "rows": <hash>, "learning_rate": ..., ...}}

Names are for people: two records are of one thing where their hashes and settings agree, whatever the folders are
called. What only one of the two records knows is not compared, so that files of older versions stay readable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ptst_pl import InputError

Record = Mapping[str, Any]
# Words for people; the hashes beside them decide.
_NAMES = ("base.name", "base.revision", "base.adapter")
_HASHES = {
    "base.config": "the base model's config", "base.weights": "the base model's weights",
    "training.rows": "the training rows", "training.held_out": "the held-out rows",
}  # fmt: skip
UNKNOWN = "identity unknown"


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(stored: Record, now: Record, only: Iterable[str] = ("",)) -> list[str]:
    """What differs between two records, a short phrase each; empty for one and the same thing.

    Args:
        stored: the record that was written.
        now: the record of what is at hand.
        only: beginnings of the dotted keys to compare, such as ``base``.
    """
    before, here = dict(_leaves(_plain(stored))), dict(_leaves(_plain(now)))
    found = []
    for key in before:
        known = before[key] is not None and here.get(key) is not None
        if known and before[key] != here[key] and key not in _NAMES and key.startswith(tuple(only)):
            found.append(key)
    # Hashes last: what has a name says more.
    return [_phrase(key, before, here) for key in sorted(found, key=lambda key: key in _HASHES)]


def check_same(what: str, stored: Record | None, now: Record, advice: str, only: Iterable[str] = ("",)) -> None:
    """Go on with the same thing only.

    Args:
        what: where the record was found, for the message.
        stored: the record; None or empty where an older version wrote none.
        now: the record of what is at hand.
        advice: what to do.
        only: beginnings of the dotted keys to compare.

    Raises:
        InputError: one line that names what differs.
    """
    found = differences(stored or {}, now, only)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise InputError(f"{what}: not the same thing: {'; '.join(found[:3])}{more}; {advice}")


def model_key(record: Record | None, step: int) -> str | None:
    """What two evaluations of one and the same model share; None where the record does not tell."""
    base = (record or {}).get("base") or {}
    if not base.get("weights"):
        return None
    return digest([base.get("config"), base["weights"], (record or {}).get("training") if step else None, step])


def _plain(record: Record) -> Record:
    """As it comes back from a file: no tuples, no types of ours."""
    found: Record = json.loads(json.dumps(record, default=str))
    return found


def _leaves(record: Record, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _phrase(key: str, before: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if key not in _HASHES:
        return f"{key} ({_short(before[key])} there, {_short(here[key])} here)"
    names = f": {_base(before)} there, {_base(here)} here" if key.startswith("base.") else ""
    return f"{_HASHES[key]}{names} ({before[key]} there, {here[key]} here)"


def _base(record: Record) -> str:
    adapter = record.get("base.adapter")
    return f"{record.get('base.name')}{f' with {adapter}' if adapter else ''}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if value not in ("", None) else "none"
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
