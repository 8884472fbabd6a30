"""A small world with a sweep in it, and fits that cost nothing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training_fixtures import Run, Started, World, world

__all__ = ["world"]
STUB = Path(__file__).with_name("stub_fit.py")


class Stubbed:
    """Sweeps of one name, over two templates and two seeds, whose fits are stubs."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.folder = world, world.folder / "runs" / name
        self.hold = world.folder / f"hold-{name}"
        self.environment = {"PTST_PL_SWEEP_FIT": f"{sys.executable} {STUB}", "STUB_HOLD": str(self.hold)}
        self.options = [
            *("--name", name, "--safety.active", "true"),
            *("--over", "data.template=[text:vanilla, chat:vanilla]", "--over", "seed_everything=[1, 2]"),
        ]

    def start(self, *options: str, main: Callable[..., None] | None = None, **environment: str) -> Started:
        """Start a sweep."""
        own = {"main": main} if main else {}
        return self.world.start("sweep", *self.options, *options, environment=self.environment | environment, **own)

    def names(self) -> list[str]:
        """Of the runs, in their order."""
        return [f"template={t}-vanilla_seed={s}" for t in ("text", "chat") for s in (1, 2)]

    def attempts(self) -> dict[str, int]:
        """How many fits each run has had."""
        found = {name: self.folder / name / "attempts" for name in self.names()}
        return {name: len(path.read_text().splitlines()) if path.exists() else 0 for name, path in found.items()}

    def pids(self) -> list[int]:
        """Of the fits that run now."""
        return [int(path.read_text()) for path in self.folder.glob("*/active")]

    def clashes(self) -> list[Path]:
        """Run folders in which two fits were at once."""
        return list(self.folder.glob("*/clash"))

    def stored(self) -> dict[str, Any]:
        """``sweep.json``."""
        return json.loads((self.folder / "sweep.json").read_text())

    def states(self) -> dict[str, str]:
        """Of the runs, as stored."""
        return {run["name"]: run["state"] for run in self.stored()["runs"]}


@pytest.fixture(scope="module")
def finished(world: World) -> tuple[Stubbed, Run]:
    """A sweep that has been run to its end, with what it printed; not to be changed."""
    found = Stubbed(world, "finished")
    return found, found.start("--jobs", "2").wait().ok()


@pytest.fixture
def stubbed(world: World, request: pytest.FixtureRequest) -> Iterator[Stubbed]:
    """A sweep's folder of the test's own; what a failed test leaves running comes to its end."""
    found = Stubbed(world, re.sub(r"\W+", "-", request.node.name))
    yield found
    found.hold.unlink(missing_ok=True)
