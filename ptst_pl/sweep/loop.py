"""The sweep itself: starts what is waiting, sees what has ended, survives Ctrl-C. Its state is in the runs' files."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ptst_pl.results.records import write_text
from ptst_pl.sweep.folders import RunFolder
from ptst_pl.sweep.locks import Holder, holder
from ptst_pl.sweep.named_files import Facts

State = Literal["waiting", "queued", "running", "done", "failed", "stopped"]
GOING = ("queued", "running")
PAUSE = 0.5  # seconds between two looks


@dataclass
class Item:
    """One run as the sweep sees it."""

    name: str
    folder: RunFolder
    values: dict[str, Any]
    config: dict[str, Any]
    files: Facts
    steps: int = 0
    state: State = "waiting"
    step: int = 0
    error: str = ""
    job: dict[str, str] = field(default_factory=dict)


class Launcher(Protocol):
    """Where runs run."""

    name: str
    jobs: int

    def start(self, name: str, folder: RunFolder) -> str:
        """Start a run; returns the number of its process or job."""

    def adopt(self, name: str, held: Holder) -> None:
        """Wait for a run that an earlier sweep started."""

    def ended(self, name: str, held: Holder | None) -> str | None:
        """How a run ended, empty for a good end; None while it goes on. ``held``: who has the run's lock."""

    def stop(self, at_once: bool = False) -> list[str]:
        """End the runs; returns words about those that go on all the same."""

    def refresh(self) -> None:
        """Ask, once for all runs, what goes on."""


class Board(Protocol):
    """Shows the runs."""

    def show(self, items: Sequence[Item]) -> None:
        """The runs as they are now."""

    def say(self, line: str) -> None:
        """One line more."""


class Sweep:
    """Runs that belong together.

    Args:
        folder: of the sweep.
        items: its runs; the finished ones among them are done.
        launcher: starts them.
        board: shows them.
        facts: what ``sweep.json`` says besides the runs.
    """

    def __init__(
        self, folder: Path, items: Sequence[Item], launcher: Launcher, board: Board, facts: dict[str, Any]
    ) -> None:
        self.folder, self.items, self.launcher, self.board, self.facts = folder, items, launcher, board, facts
        self.signals = self._heard = 0
        self._written = ""
        self._left: list[str] = []

    def go(self) -> list[str]:
        """Run until all have ended, or until Ctrl-C; returns words about runs that go on without the sweep."""
        with self._listening():
            while True:
                self._hear()
                self._look()
                if not self._heard:
                    self._fill()
                self._write()
                self.board.show(self.items)
                if self._heard >= 2 or not self._pending():
                    return self._left
                time.sleep(PAUSE)

    def _pending(self) -> bool:
        going = any(item.state in GOING for item in self.items)
        if self._heard:
            return going and not self._left
        return going or any(item.state == "waiting" for item in self.items)

    def _hear(self) -> None:
        if self.signals > self._heard:
            self._heard = self.signals
            self._left = self.launcher.stop(at_once=self._heard >= 2)
            going = sum(item.state in GOING for item in self.items)
            if self._heard == 1 and going and not self._left:
                self.board.say(f"stopping: waiting for {going} to save; press Ctrl-C again to end at once")

    def _look(self) -> None:
        self.launcher.refresh()
        for item in self.items:
            if item.state in GOING:
                held = holder(item.folder.lock)
                how = self.launcher.ended(item.name, held)
                if how is None:
                    item.state = "running" if held or self.launcher.name == "local" else "queued"
                else:
                    self._close(item, how)

    def _close(self, item: Item, how: str) -> None:
        held = holder(item.folder.lock)
        adopted = item.job.get("adopted")
        item.job = {}
        if held:  # another process was faster, and has the run now
            self._adopt(item, held)
        elif item.folder.is_finished():
            item.state = "done"
        elif self._heard:
            item.state = "stopped"
        elif adopted:
            item.state = "waiting"  # ended with the sweep that started it, or before its time: go on
        else:
            item.state, item.error = "failed", item.folder.first_error() or how or "ended without its last evaluation"

    def _adopt(self, item: Item, held: Holder) -> None:
        self.launcher.adopt(item.name, held)
        item.state, item.job = "running", {"launcher": self.launcher.name, "adopted": str(held)}
        self.board.say(f"{item.name}: goes on in {held}, which an earlier sweep started; waiting for it")

    def _fill(self) -> None:
        for item in self.items:
            if item.state == "waiting" and (held := holder(item.folder.lock)):
                self._adopt(item, held)
        for item in self.items:
            if sum(other.state in GOING for other in self.items) >= self.launcher.jobs:
                return
            if item.state == "waiting":
                item.folder.plan(item.config, item.files)
                number = self.launcher.start(item.name, item.folder)
                item.state = "running" if self.launcher.name == "local" else "queued"
                item.job = {"launcher": self.launcher.name, "id": number}
                self._write()  # before the next one starts: a job in a queue is known by this alone

    def _write(self) -> None:
        runs = [
            {"name": i.name, "values": i.values, "state": i.state, "error": i.error, "job": i.job} for i in self.items
        ]
        text = json.dumps({**self.facts, "runs": runs}, indent=1, ensure_ascii=False, default=str) + "\n"
        if text != self._written:
            write_text(self.folder / "sweep.json", text)
            self._written = text

    @contextmanager
    def _listening(self) -> Iterator[None]:
        previous: dict[signal.Signals, Callable[..., Any] | int | None] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # In the background a sweep may have been started with Ctrl-C ignored; with nohup, the terminal's end.
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        self.signals += 1


def stored_jobs(folder: Path) -> dict[str, dict[str, str]]:
    """The process or job of each run, as an earlier sweep noted it."""
    path = folder / "sweep.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(run["name"]): dict(run["job"]) for run in found["runs"]}
    except (ValueError, KeyError, TypeError):
        return {}
