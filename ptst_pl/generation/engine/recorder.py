"""CUDA graphs: what records decode steps on a GPU, and which models are served without."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
import weakref
from collections.abc import Iterator

import torch
from torch import nn

from ptst_pl.generation.engine.step_graph import Recorder, Recording, Step
from ptst_pl.model import causal_lm

log = logging.getLogger(__name__)
# Models whose steps could not be recorded, or not rightly: not tried again in this process.
_distrusted: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def recorder_for(device: torch.device) -> Recorder | None:
    """What records steps on ``device``; nothing where launching is no work."""
    return CudaRecorder(device) if device.type == "cuda" else None


def recordable(model: nn.Module) -> bool:
    """Whether a model's steps may be recorded: not if Python has to run in each (hooks, as sharding has; gradients)."""
    inner = causal_lm(model)
    if torch.is_grad_enabled() or inner in _distrusted:
        return False
    return not any(
        module._forward_hooks or module._forward_pre_hooks or hasattr(module, "_hf_hook") for module in inner.modules()
    )


def distrust(model: nn.Module, reason: str) -> None:
    """Never record this model's steps again, and say why."""
    _distrusted.add(causal_lm(model))
    log.warning("generation: no CUDA graphs for %s: %s", causal_lm(model).config.model_type, reason)


class CudaRecorder:
    """Records CUDA graphs; all of them share one pool of memory, which nothing outlives but the graphs themselves."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.pool = device, torch.cuda.graph_pool_handle()

    def rehearse(self, step: Step) -> None:
        """See ``Recorder``. Kernels and workspaces are loaded meanwhile, which no capture may do."""
        own, stream = torch.cuda.current_stream(self.device), _stream(self.device)
        stream.wait_stream(own)
        with torch.cuda.device(self.device), torch.cuda.stream(stream), _no_waiting():
            step()
        own.wait_stream(stream)

    def record(self, step: Step) -> Recording:
        """See ``Recorder``."""
        graph, own, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device), _stream(self.device)
        with torch.cuda.device(self.device), torch.cuda.stream(own):  # a failed capture does not put its stream back
            try:
                # Other threads (loaders that pin memory, NCCL's watchdog) go on meanwhile: "thread_local".
                with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
                    logits = step()
            except RuntimeError as error:
                self._recover()
                # Ending a broken capture fails too; what broke it says more.
                raise (error.__context__ if isinstance(error.__context__, RuntimeError) else error) from None
        return Recording(graph.replay, logits)

    def _recover(self) -> None:
        """Let the allocator forget a capture that could not be ended; without that, freeing memory fails later."""
        torch.cuda.synchronize(self.device)
        with contextlib.suppress(RuntimeError):  # it was ended: there is nothing to forget
            torch._C._cuda_endAllocateToPool(self.device.index, self.pool)
            torch._C._cuda_releasePool(self.device.index, self.pool)


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: cuBLAS keeps a workspace for every stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """Whatever waits for the device is a RuntimeError, as it is during a capture, but one that leaves no traces."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
