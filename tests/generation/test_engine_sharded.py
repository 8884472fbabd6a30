"""The engine on gathered parameters of a sharded model (a group of one process)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from engine_models import model_of, ours, prompts_of, requests_of
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from ptst_pl.generation.engine import obstacle
from ptst_pl.generation.engine.recorder import recordable
from ptst_pl.model import LoraSettings, add_lora
from ptst_pl.model.sharding import gathered, shard

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("compute", [None, torch.bfloat16], ids=["float32", "bf16"])
def test_gathered_parameters_serve_without_a_collective(mesh, adapted, compute, monkeypatch):
    model, requests = model_of("llama"), requests_of(prompts_of(8, 21))
    model = add_lora(model, LoraSettings()) if adapted else model
    plain = ours(model, requests)
    shard(model, mesh, compute)
    assert not recordable(model)  # its hooks run in Python
    with gathered(model):
        inside = {id(parameter) for parameter in model.parameters()}
        for name in ("all_gather_into_tensor", "all_reduce", "barrier", "reduce_scatter_tensor"):
            monkeypatch.setattr(torch.distributed, name, lambda *_, **__: pytest.fail("a collective"))
        assert obstacle(model) == ""
        found = ours(model, requests)
        assert compute is not None or found == plain
        assert {id(parameter) for parameter in model.parameters()} == inside
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
