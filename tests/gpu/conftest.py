"""Recordings of decode steps for small models, which would be through before one is worth it."""

from __future__ import annotations

import pytest

from ptst_pl.generation.engine import buckets, step_graph
from ptst_pl.generation.engine.recorder import CudaRecorder


@pytest.fixture
def soon(monkeypatch) -> list[object]:
    """Steps are recorded soon and in small sizes; holds one entry for each that was."""
    made: list[object] = []
    own = CudaRecorder.record

    def record(self, step):
        found = own(self, step)
        made.append(1)  # not the recording, which would keep its memory
        return found

    monkeypatch.setattr(CudaRecorder, "record", record)
    monkeypatch.setattr(step_graph, "WORTHWHILE", 2)
    monkeypatch.setattr(buckets, "READ", 16)
    monkeypatch.setattr(buckets, "ROWS", 4)
    return made
