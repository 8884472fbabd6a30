"""What a sweep shows: one live table in a terminal (with rich, where it is installed), a few lines in a log file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from ptst_pl.results.rates_table import grid, percent
from ptst_pl.sweep.loop import Item
from ptst_pl.sweep.steps import StepReader

HEAD = ("run", "state", "step", "ASR in %")


class Lines:
    """A line for every run that starts, ends or fails."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}
        self._steps = StepReader()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def show(self, items: Sequence[Item]) -> None:
        """Say what has changed since the last time; what was there from the start is in the table before."""
        first = not self._before
        for item in items:
            if self._before.get(item.name) != item.state and not (first and item.state in ("done", "waiting")):
                ended = sum(other.state in ("done", "failed") for other in items)
                self.say(f"[{ended}/{len(items)}] {item.name}: {self._words(item)}")
            self._before[item.name] = item.state

    def _words(self, item: Item) -> str:
        look(item, self._steps)
        if item.state == "failed":
            return f"failed: {item.error}"
        rates = asr_text(item)
        return f"{item.state}, step {item.step} of {item.steps}" + (f", ASR {rates}" if rates else "")

    def say(self, line: str) -> None:
        """With the time."""
        print(f"{datetime.now():%H:%M:%S} {line}", flush=True)


class Table:
    """One table that stays in its place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._steps, self._lines = StepReader(), list[str]()

    def __enter__(self) -> Table:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, items: Sequence[Item]) -> None:
        """Draw it again."""
        from rich.text import Text

        for item in items:
            look(item, self._steps)
        self._live.update(Text("\n".join([table(items), *self._lines])), refresh=True)

    def say(self, line: str) -> None:
        """Below the table."""
        self._lines = [*self._lines[-4:], line]


def board() -> Lines | Table:
    """The table in a terminal, lines elsewhere."""
    return Table() if sys.stdout.isatty() and importlib.util.find_spec("rich") else Lines()


def look(item: Item, steps: StepReader) -> None:
    """Read how far a run is."""
    records = item.folder.rates()
    evaluated = max((int(record["step"]) for record in records), default=0)
    item.step = max(steps.step(item.folder.version), evaluated)


def table(items: Sequence[Item]) -> str:
    """Run, state, step and the ASR of the last point."""
    lines = [
        HEAD,
        *((i.name, _state(i), f"{i.step} of {i.steps}" if i.steps else str(i.step), asr_text(i)) for i in items),
    ]
    seen = next((cell for item in items if (cell := asr_cell(item.folder.rates()))), None)
    note = f"ASR of the last point: {seen[0]}, {seen[1]} judge, under {' / '.join(seen[2])}" if seen else ""
    return "\n".join(filter(None, [grid([list(line) for line in lines]), note]))


def _state(item: Item) -> str:
    return f"failed: {item.error}" if item.state == "failed" else item.state


def asr_text(item: Item) -> str:
    """The ASR of the last point under each test template, in per cent."""
    cell = asr_cell(item.folder.rates())
    return " / ".join(percent(rate) for rate in cell[2].values()) if cell else ""


def asr_cell(rates: Sequence[Mapping[str, Any]]) -> tuple[str, str, dict[str, float | None]] | None:
    """First suite that looks for harm, its first judge, and template -> rate; None where there is none."""
    found = [record for record in rates if record["measures"] == "asr"]
    if not found:
        return None
    suite, judge = str(found[0]["suite"]), str(found[0]["judge"])
    own = [record for record in found if (record["suite"], record["judge"]) == (suite, judge)]
    return suite, judge, {str(record["template"]): record["rate"] for record in own}
