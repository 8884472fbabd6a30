"""The decoding engine on a GPU: tokens of ``generate`` in float32, and no waiting for the device between looks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import obstacle, release
from ptst_pl.generation.engine.model_runner import ModelRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from engine_models import FAMILIES, STOPS, differences, model_of, ours, prompts_of, requests_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("kind", FAMILIES)
def test_answers_are_those_of_the_cpu(kind):
    """The engine on the CPU is compared with ``generate`` elsewhere."""
    model, requests = model_of(kind), requests_of(prompts_of(16, 21))
    expected = ours(model, requests)
    model.cuda()
    assert obstacle(model) == ""
    found = [ours(model, requests, Decoding(slots=slots), every=every) for slots, every in ((64, 8), (3, 1), (5, 4))]
    model.cpu()
    for answers in found:
        assert differences(model, requests, answers, expected) == []


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("graphs", [False, True], ids=["plain steps", "graphs"])
@pytest.mark.parametrize("decoding", [Decoding(), Decoding(temperature=1.0, top_p=0.9, top_k=20)])
def test_nothing_waits_for_the_device_between_two_looks(decoding, graphs, soon, monkeypatch):
    """Graphs are recorded outside of what is watched, and replayed inside."""
    model, requests = model_of("llama").cuda(), requests_of(prompts_of(16, 21), longest=24)
    first = ours(model, requests, decoding, stops=[], graphs=graphs)
    own = ModelRunner.steps

    def watched(*inputs):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return own(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(ModelRunner, "steps", watched)
    soon.clear()
    assert ours(model, requests, decoding, stops=[], every=8, graphs=graphs) == first
    assert bool(soon) == graphs


def test_bf16_is_served_and_differences_are_counted(capsys):
    model, requests = model_of("llama").cuda().bfloat16(), requests_of(prompts_of(16, 21))
    assert obstacle(model) == ""
    pairs = list(zip(ours(model, requests), ours(model, requests, Decoding(slots=1)), strict=True))
    print(f"bf16: {sum(one != other for one, other in pairs)} of {len(pairs)} rows differ with one slot")
    assert "of 16 rows differ" in capsys.readouterr().out


def test_memory_is_given_back(soon):
    model, requests = model_of("llama").cuda(), requests_of(prompts_of(16, 21), longest=24)
    ours(model, requests, stops=STOPS)  # cuBLAS keeps its workspaces, one for each stream
    release(model)
    torch.cuda.empty_cache()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    ours(model, requests, stops=STOPS)
    assert torch.cuda.memory_allocated() > before
    assert soon
    release(model)
    assert torch.cuda.memory_allocated() == before
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved
