"""A recorder for the CPU that keeps a CUDA graph's rules.

Operations run again as they ran, on tensors at the addresses that they had: no Python between them, no number
that was read on the way looked at again. What would wait for the device is refused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from ptst_pl.generation.engine.step_graph import Recording

WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}


class Tape(TorchDispatchMode):
    """The operations of one step, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Callable, tuple, dict, object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in WAITING:
            raise RuntimeError(f"{func} waits for the device\nand so on")
        found = func(*args, **(kwargs or {}))
        self.made.append((func, args, kwargs or {}, found))
        return found

    def play(self) -> dict[int, torch.Tensor]:
        """Run all again; returns what took the place of each tensor of the recording."""
        now: dict[int, torch.Tensor] = {}

        def current(one):
            return now.get(id(one), one) if isinstance(one, torch.Tensor) else one

        for func, args, kwargs, before in self.made:
            after = func(*tree_map(current, args), **tree_map(current, kwargs))
            for old, new in zip(tree_flatten(before)[0], tree_flatten(after)[0], strict=True):
                if isinstance(old, torch.Tensor):
                    now[id(old)] = new
        return now


class TapeRecorder:
    """Records tapes; counts, and keeps nothing alive.

    Attributes:
        replays: by recording, in their order.
        live: the recordings that somebody holds.
    """

    def __init__(self) -> None:
        self.replays: list[int] = []
        self.live: weakref.WeakSet[Tape] = weakref.WeakSet()

    def rehearse(self, step) -> None:
        """See ``Recorder``."""
        with Tape():
            step()

    def record(self, step) -> Recording:
        """See ``Recorder``."""
        number, tape = len(self.replays), Tape()
        self.replays.append(0)
        with tape:
            logits = step()
        # A kept tensor is recorded at its address: each replay leaves its logits there.
        kept = logits.clone()
        self.live.add(tape)

        def replay() -> None:
            self.replays[number] += 1
            kept.copy_(tape.play()[id(logits)])

        return Recording(replay, kept)


class Recorders:
    """Stands where a device's recorder is asked for, and keeps those that were given out."""

    def __init__(self, make=TapeRecorder) -> None:
        self.make, self.given = make, []

    def __call__(self, device):
        self.given.append(self.make())
        return self.given[-1]

    @property
    def replays(self) -> list[int]:
        return [count for one in self.given for count in one.replays]
