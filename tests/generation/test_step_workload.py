"""How many sizes are recorded, and how many steps are replays, in workloads as evaluations have them."""

from __future__ import annotations

import pytest
import torch

from ptst_pl.generation.engine.cache import CacheShape, LayerShape, SlotCache
from ptst_pl.generation.engine.sampling import greedy
from ptst_pl.generation.engine.schedule import Ending, Row, Settings, serve
from ptst_pl.generation.engine.step_graph import MOST, Look, Recording, StepGraphs
from ptst_pl.generation.request import Request


class Again:
    """The simplest recorder: a recording is the step itself."""

    def __init__(self) -> None:
        self.replays = 0

    def rehearse(self, step):
        step()

    def record(self, step):
        logits = step()

        def replay():
            self.replays += 1
            logits.copy_(step())

        return Recording(replay, logits)


class Workload:
    """A model of nothing on the real slots' sizes; see ``schedule.Runner``."""

    def __init__(self, slots: int, length: int) -> None:
        shape = CacheShape({0: LayerShape(1, 1, 1)}, torch.float32, torch.device("cpu"))
        self.steps, self.recorder = 0, Again()
        self.graphs = StepGraphs(SlotCache(shape, slots, length), self.forward, self.choose, False, self.recorder)

    def forward(self, ids, places, work):
        return torch.nn.functional.one_hot((ids + 1) % 7, 7).float()

    def choose(self, logits, numbers):
        return greedy(logits)

    def prefill(self, first, rows):
        return [[row.index % 7] for row in rows]

    def decode(self, rows, steps):
        held = [len(row.request.ids) + len(row.made) - 1 for row in rows]
        look = Look(torch.tensor([row.made[-1] for row in rows]), torch.tensor(held), max(held), None, steps)
        self.graphs.prepare(look)
        self.steps += steps
        return self.graphs.steps(look).tolist()

    def move(self, moves):
        pass


def lengths(count: int, longest: int) -> list[int]:
    draw = torch.Generator().manual_seed(0)
    found = [longest] * (count // 5) + torch.randint(15, 41, (count - count // 5,), generator=draw).tolist()
    return [found[place] for place in torch.randperm(count, generator=draw).tolist()]


@pytest.mark.parametrize(("count", "slots", "longest"), [(400, 256, 512), (100, 100, 512), (400, 64, 256)])
def test_few_sizes_are_recorded_and_most_steps_are_replays(count, slots, longest, capsys):
    """80 % of the answers are short and 20 % as long as allowed; looks of 8 steps."""
    draw = torch.Generator().manual_seed(1)
    sizes = torch.randint(40, 120, (count,), generator=draw).tolist()
    rows = [
        Row(number, Request([1] * size, 0, length))
        for number, (size, length) in enumerate(zip(sizes, lengths(count, longest), strict=True))
    ]
    work, found = Workload(slots, 120 + longest), {}
    serve(work, rows, Settings(slots, 8, slots // 8, 8192), Ending(frozenset()), found.__setitem__, lambda tokens: None)
    for row in rows:
        answer = [(row.index + place) % 7 for place in range(row.request.max_new_tokens)]
        assert found[row.index].ids == answer
    made, share = len(work.graphs.recorded), work.recorder.replays / work.steps
    with capsys.disabled():
        print(f"\n{count} answers, {slots} slots: {made} sizes recorded, {share:.0%} of {work.steps} steps replayed")
    assert made <= MOST / 2
    assert share > 0.85
