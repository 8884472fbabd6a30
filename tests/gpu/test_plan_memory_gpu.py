"""A plan's memory beside what PyTorch's allocator counts on a GPU; skipped, saying so, where there is none."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from lightning import Callback
from training_fixtures import World, llama_config, save_random

from ptst_pl.cli import main
from ptst_pl.training.command import run_cli
from ptst_pl.training.lightning_cli import TrainingCLI

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
WIDE = {
    "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8, "num_attention_heads": 16,
    "num_key_value_heads": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def wide_world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    save_random(llama_config(420, **WIDE), world.folder / "model")
    return world


class PeakMemory(Callback):
    """Bytes of all tensors at the worst moment of a fit, above what was there before."""

    found = before = 0

    def setup(self, trainer, pl_module, stage):
        torch.cuda.reset_peak_memory_stats()
        type(self).before = torch.cuda.memory_allocated()

    def on_train_end(self, trainer, pl_module):
        type(self).found = torch.cuda.max_memory_allocated() - self.before


class Probed(TrainingCLI):
    """Fit with the probe."""

    def instantiate_trainer(self, **kwargs):
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.append(PeakMemory())
        return trainer


@pytest.mark.parametrize(("method", "dtype"), [("lora", "bfloat16"), ("full", "float32")])
@pytest.mark.parametrize("batching", ["padded", "prefix"])
def test_within_15_percent(wide_world, capsys, method, dtype, batching):
    flags = [
        "--config", str(wide_world.folder / "base.yaml"), "--name", f"{method}-{batching}",
        "--model.method", method, "--model.dtype", dtype, "--model.batching", batching,
        "--data.template", "chat:llama", "--data.batch_size", "11", "--trainer.max_epochs", "1",
        "--trainer.accelerator", "gpu", "--trainer.precision", "bf16-mixed",
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["plan", "--json", "--device", "h100", *flags])
        plan = json.loads(capsys.readouterr().out)
        run_cli(["fit", *flags], Probed)
    assert plan["memory"]["peak"] == pytest.approx(PeakMemory.found, rel=0.15)
