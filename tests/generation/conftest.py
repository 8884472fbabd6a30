"""The small world of ``training_fixtures``, a small model with large random weights, recorded decode steps."""

import pytest
import torch
from benchmark_script import bench
from step_tape import Recorders
from training_fixtures import llama_config, world
from transformers import AutoModelForCausalLM, PreTrainedModel

from ptst_pl.generation.engine import buckets, model_runner, step_graph

__all__ = ["bench", "world"]


@pytest.fixture
def model() -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(llama_config(64))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter.data, std=0.3)
    model.config.use_cache = False
    return model.train()


@pytest.fixture
def recorders(monkeypatch) -> Recorders:
    """Every run on the CPU is recorded, soon, and in sizes so small that there are several."""
    found = Recorders()
    monkeypatch.setattr(model_runner, "recorder_for", found)
    monkeypatch.setattr(step_graph, "WORTHWHILE", 2)
    monkeypatch.setattr(buckets, "READ", 16)
    monkeypatch.setattr(buckets, "ROWS", 4)
    return found
