"""Sends a process a signal in the middle of an evaluation, and counts how often the tokens are looked at in each.

For a config's ``trainer.callbacks`` and ``safety.judges``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from lightning import Callback

from ptst_pl import InputError
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.judges import RefusalJudge


class Signaller(Callback):
    def __init__(self, step: int, call: int, number: int, target: str, rank: int = 0) -> None:
        self.step, self.call, self.number, self.target, self.rank = step, call, number, target, rank
        self.calls = Counter()

    def setup(self, trainer, pl_module, stage):
        own, rank = AnswersBar.made, int(os.environ.get("RANK", 0))

        def made(bar, tokens):
            own(bar, tokens)
            self.calls[bar.title] += 1
            Path(f"{self.target}-{rank}").write_text("\n".join(f"{t}: {n}" for t, n in self.calls.items()))
            here = bar.title == f"Safety at step {self.step}" and self.calls[bar.title] == self.call
            if here and rank == self.rank:
                os.kill(os.getpid(), self.number)

        AnswersBar.made = made


class SignallingJudge(RefusalJudge):
    def __init__(self, step: int, times: int = 1) -> None:
        super().__init__()
        self.name, self.step, self.times = "signalling", step, times

    def judge(self, generations):
        if generations and generations[0].step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), 2)
        return super().judge(generations)


class WrittenJudge(RefusalJudge):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.name, self.target = "written", Path(target)

    def judge(self, generations):
        with self.target.open("a") as handle:
            handle.write(f"{generations[0].step}\n")
        return super().judge(generations)


def signalled(step: int, call: int, number: int, log: Path, rank: int = 0) -> tuple[str, str]:
    """Flags for a signal at the ``call``-th look at the tokens in the evaluation of a step."""
    own = {"step": step, "call": call, "number": int(number), "target": str(log), "rank": rank}
    return "--trainer.callbacks", json.dumps([{"class_path": "signaller.Signaller", "init_args": own}])


def looks(log: Path, step: int, rank: int = 0) -> int:
    """How often the tokens were looked at in the evaluation of a step."""
    told = dict(line.rsplit(": ", 1) for line in Path(f"{log}-{rank}").read_text().splitlines())
    return int(told.get(f"Safety at step {step}", 0))


class FailingJudge(RefusalJudge):
    def __init__(self) -> None:
        super().__init__()
        self.name = "failing"

    def judge(self, generations):
        raise InputError("this judge never works")
