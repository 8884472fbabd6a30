"""The files that a run's config names, and what was in them when the run was planned.

Size and time of change do not tell: a file can be made again with other rows of the same length, or be copied back
with its old time. So contents are hashed, each file once a sweep. A job that starts later hashes again only what does
not look as it did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Facts = dict[str, dict[str, Any]]  # path, as the config has it -> sha256, bytes and mtime_ns
_SECTIONS = ("data", "safety")


class Contents:
    """Hashes files, each at most once."""

    def __init__(self) -> None:
        self._known: Facts = {}

    def of(self, config: Mapping[str, Any]) -> Facts:
        """The files that a run reads its rows, prompts and judges' texts from.

        Args:
            config: every key of ``fit``. Whatever text in ``data`` and ``safety`` names a file is one of them; not
                looked at are folders, such as a model's, and what comes from the hub.

        Returns:
            By path, in the config's order: ``sha256``, ``bytes`` and ``mtime_ns``.
        """
        names = dict.fromkeys(text for key in _SECTIONS for text in _texts(config.get(key)) if _is_file(text))
        for name in names:
            if name not in self._known:
                self._known[name] = _facts(Path(name))
        return {name: self._known[name] for name in names}


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first file with another content, in words; None if all agree. A file that one of them lacks is passed over.

    Args:
        then: as stored with a run.
        now: of the same run.
    """
    for name, facts in now.items():
        before = then.get(name, facts)["sha256"]
        if before != facts["sha256"]:
            return f"{name} has changed since then (sha256 {before[:12]}, now {facts['sha256'][:12]})"
    return None


def changed_since(then: Mapping[str, Any]) -> str | None:
    """As ``changed``, against the files as they are at this moment; those that look untouched are not read."""
    touched = [name for name, facts in then.items() if _is_file(name) and _looks(Path(name)) != _looked(facts)]
    return changed(then, {name: _facts(Path(name)) for name in touched})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_file(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):  # a text that can be no path
        return False


def _facts(path: Path) -> dict[str, Any]:
    size, time = _looks(path)  # before it is read: a change while it is read shows at the start of the run
    with path.open("rb") as handle:
        return {"sha256": hashlib.file_digest(handle, "sha256").hexdigest(), "bytes": size, "mtime_ns": time}


def _looks(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _looked(facts: Mapping[str, Any]) -> tuple[int, int]:
    return facts["bytes"], facts["mtime_ns"]
