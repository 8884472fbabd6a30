"""Progress of answers, made or judged: how many, tokens a second, time left. A bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)
# Seconds between two lines of a log file.
LINE_EVERY_S = 60.0


class AnswersBar:
    """Counts answers and tokens while they come, and shows them; a context manager.

    Args:
        total: answers expected.
        title: what is going on.
        quiet: show nothing.
    """

    def __init__(self, total: int, title: str, quiet: bool = False) -> None:
        self.total, self.title, self.quiet = total, title, quiet
        self.answers = self.tokens = 0
        terminal = sys.stderr.isatty()
        self._lines = not quiet and not terminal
        self._bar = tqdm(total=total, desc=title, unit="answer", leave=False, disable=quiet or not terminal)
        self._start = self._last = time.monotonic()

    def __enter__(self) -> AnswersBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._lines and error is None:
            log.info("%s: %s", self.title, self.told())

    def done(self, answers: int) -> None:
        """So many answers are finished."""
        self.answers += answers
        self._bar.update(answers)
        self._tell_now_and_then()

    def made(self, tokens: int) -> None:
        """So many tokens were made, of answers finished or not."""
        self.tokens += tokens
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{self._rate():.0f} tokens/s", refresh=False)
        self._tell_now_and_then()

    def _tell_now_and_then(self) -> None:
        now = time.monotonic()
        if self._lines and now - self._last > LINE_EVERY_S:
            self._last = now
            log.info("%s: %s", self.title, self.told())

    def _rate(self) -> float:
        return self.tokens / max(time.monotonic() - self._start, 1e-9)

    def told(self) -> str:
        """``120 of 384 answers in 8 s, 1850 tokens/s, about 18 s left``."""
        spent = time.monotonic() - self._start
        text = f"{self.answers} of {self.total} answers in {spent:.0f} s"
        if self.tokens:
            text += f", {self._rate():.0f} tokens/s"
        if 0 < self.answers < self.total:
            text += f", about {spent / self.answers * (self.total - self.answers):.0f} s left"
        return text
