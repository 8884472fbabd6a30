"""The order of calls that records a CUDA graph, with stand-ins for the device; what they do is seen on a GPU only."""

from __future__ import annotations

import contextlib
import inspect

import pytest
import torch

from ptst_pl.generation.engine import recorder as recorder_module
from ptst_pl.generation.engine.recorder import CudaRecorder, recorder_for


class Stream:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class Device:
    """Streams, capture and allocator: enough of ``torch.cuda`` to see what becomes of them.

    Attributes:
        log: what was asked for, in its order.
        stream: the current one.
        mode: of looking for waits.
        capturing: the allocator serves a capture.
        ends: whether a capture can be ended.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.own, self.side = Stream("own", self.log), Stream("side", self.log)
        self.stream, self.mode, self.capturing, self.ends = self.own, 0, False, True

    @contextlib.contextmanager
    def on(self, stream):
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextlib.contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        assert (pool, capture_error_mode) == ((0, 7), "thread_local")
        self.stream, self.capturing = stream, True  # as torch, it puts the stream back only if all is well
        self.log.append("capture")
        try:
            yield
        finally:
            if not self.ends:
                raise RuntimeError("operation failed due to a previous error during capture")
            self.capturing = False
        self.stream = self.own

    def end(self, device, pool):
        assert (device, pool) == (0, (0, 7))
        if not self.capturing:
            raise RuntimeError("not currently recording to mempool_id")
        self.capturing = False
        self.log.append("end")

    def release(self, device, pool):
        self.log.append("release")


@pytest.fixture
def device(monkeypatch) -> Device:
    found, cuda = Device(), torch.cuda
    inspect.signature(cuda.graph).bind(None, pool=None, stream=None, capture_error_mode="thread_local")
    recorder_module._stream.cache_clear()
    monkeypatch.setattr(cuda, "graph_pool_handle", lambda: (0, 7))
    monkeypatch.setattr(cuda, "Stream", lambda device: found.side)
    monkeypatch.setattr(cuda, "current_stream", lambda device=None: found.stream)
    monkeypatch.setattr(cuda, "stream", found.on)
    monkeypatch.setattr(cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(cuda, "graph", found.graph)
    monkeypatch.setattr(
        cuda, "CUDAGraph", lambda: type("Graph", (), {"replay": lambda self: found.log.append("replay")})()
    )
    monkeypatch.setattr(cuda, "synchronize", lambda device: found.log.append("synchronize"))
    monkeypatch.setattr(cuda, "get_sync_debug_mode", lambda: found.mode)
    monkeypatch.setattr(cuda, "set_sync_debug_mode", lambda mode: setattr(found, "mode", mode))
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", found.end)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", found.release)
    yield found
    recorder_module._stream.cache_clear()


@pytest.fixture
def recorder(device) -> CudaRecorder:
    found = recorder_for(torch.device("cuda", 0))
    assert isinstance(found, CudaRecorder)
    return found


def test_a_rehearsal_is_on_the_side_and_refuses_to_wait(device, recorder):
    def step():
        device.log.append(f"step on {device.stream.name}, {device.mode}")
        raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        recorder.rehearse(step)
    assert device.log == ["side waits for own", "step on side, error"]
    assert (device.stream, device.mode) == (device.own, 0)
    recorder.rehearse(lambda: device.log.append("step"))
    assert device.log[2:] == ["side waits for own", "step", "own waits for side"]


def test_a_step_is_captured_on_the_stream_of_its_rehearsal(device, recorder):
    logits = torch.ones(2)
    found = recorder.record(lambda: (device.log.append(f"step on {device.stream.name}"), logits)[1])
    assert found.logits is logits
    found.replay()
    assert device.log == ["capture", "step on side", "replay"]
    assert device.stream is device.own


@pytest.mark.parametrize("ends", [True, False], ids=["it could be ended", "it could not"])
@pytest.mark.parametrize("error", [RuntimeError("cannot be captured"), torch.OutOfMemoryError("cannot be captured")])
def test_a_failed_capture_leaves_stream_and_allocator_as_they_were(device, recorder, ends, error):
    device.ends = ends

    def step():
        raise error

    with pytest.raises(type(error), match="cannot be captured"):
        recorder.record(step)
    assert device.stream is device.own
    assert not device.capturing
    assert device.log == ["capture", "synchronize", *([] if ends else ["end", "release"])]


def test_only_a_gpu_has_one():
    assert recorder_for(torch.device("cpu")) is None
