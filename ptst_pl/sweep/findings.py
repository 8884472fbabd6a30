"""Warnings that planning the runs of a sweep gives rise to: each once, with the runs that it holds for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

log = logging.getLogger(__name__)
_PACKAGE = "ptst_pl"
_NAMED = 3


class Findings(logging.Handler):
    """Keeps the package's warnings, by the group of runs that was looked at."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._group = ""
        self._groups: dict[str, set[str]] = {}  # message -> groups
        self._runs: dict[str, str] = {}  # run -> group

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self._groups.setdefault(record.getMessage(), set()).add(self._group)

    @contextlib.contextmanager
    def of(self, group: str) -> Iterator[None]:
        """What is warned of inside holds for the runs of this group."""
        logger, self._group = logging.getLogger(_PACKAGE), group
        before, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = before

    def hold_for(self, group: str, run: str) -> None:
        """A run that belongs to a group."""
        self._runs[run] = group

    def say(self) -> None:
        """Log every message, in the order of first appearance."""
        for message, groups in self._groups.items():
            log.warning("%s (%s)", message, self._where([run for run, own in self._runs.items() if own in groups]))

    def _where(self, names: list[str]) -> str:
        if len(names) == len(self._runs):
            return f"all {len(names)} runs" if len(names) > 1 else names[0]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{len(names)} of {len(self._runs)} runs: {', '.join(names[:_NAMED])}{more}"
