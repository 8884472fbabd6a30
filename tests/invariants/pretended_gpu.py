"""Tensors that have no content and believe that they are on a GPU: what asks for their content is an error.

PyTorch without CUDA has no backward pass for fake tensors whose device is CUDA: it looks for the device's guard.
So these are on the CPU and say of themselves that they are not, which is what the code asks for.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ptst_pl.model.loss import head

DEVICE = torch.device("cpu")


class WaitError(Exception):
    """The host would wait for the device."""


class NothingFromTheHost(TorchDispatchMode):
    """Tensors made of Python's numbers or lists have to be copied to the device, which waits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.lift_fresh.default and args[0].dim():  # single numbers go as arguments
            raise WaitError(f"a tensor of {tuple(args[0].shape)} is made of the host's numbers")
        return func(*args, **(kwargs or {}))


def _fetched(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    raise WaitError(f"a tensor of {tuple(self.shape)} is fetched to the host")


@contextlib.contextmanager
def pretended_gpu() -> Iterator[FakeTensorMode]:
    """In it `.item()`, `.tolist()`, `nonzero`, boolean masks and tensors as conditions raise."""
    mode, blocks = FakeTensorMode(), head.BLOCK_BYTES | {"cpu": head.BLOCK_BYTES["cuda"]}
    patches = (
        mock.patch.object(FakeTensor, "is_cuda", True, create=True),
        mock.patch.object(FakeTensor, "cpu", _fetched, create=True),
        mock.patch.object(FakeTensor, "numpy", _fetched, create=True),
        mock.patch.dict(head.BLOCK_BYTES, blocks),
    )
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries that look for a driver
        for patch in patches:
            stack.enter_context(patch)
        stack.enter_context(mode)
        yield mode
