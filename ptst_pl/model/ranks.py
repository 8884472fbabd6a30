"""What the processes of a run tell each other."""

from __future__ import annotations

from typing import Any

import torch


def gather(part: Any) -> list[Any]:
    """Every process's ``part``, in rank order."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [part]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def first_rank() -> bool:
    """Whether this process speaks for all."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not together or torch.distributed.get_rank() == 0


class Vote:
    """Whether any process says yes, asked from host to host: no device is waited for."""

    def __init__(self) -> None:
        self._group: torch.distributed.ProcessGroup | None = None

    def any(self, yes: bool) -> bool:
        """The same answer on all of them; a call of all together."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return yes
        if self._group is None and torch.distributed.get_backend() != "gloo":
            self._group = torch.distributed.new_group(backend="gloo")
        said = torch.tensor(int(yes))
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(said)
