"""The memory of a plan, against what a real fit takes, and against what is known by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from training_fixtures import llama_config, save_random

from ptst_pl.planning.devices import GIB, find_device
from ptst_pl.planning.memory import Memory
from ptst_pl.planning.plan import fits

HERE = Path(__file__).parent
# Large enough that libraries' own memory does not matter; small enough for a test.
WIDE = {
    "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def wide(world):
    """A folder with a wider model and the world's tokenizer."""
    folder = world.folder / "wide"
    shutil.copytree(world.folder / "model", folder)
    save_random(llama_config(420, **WIDE), folder)
    shutil.copy(HERE / "probes.py", world.folder / "plan_probes.py")
    return str(folder)


def measured(world, flags):
    """Resident memory that a fit takes above what it had before the weights were loaded."""
    output = world.folder / "resident.txt"
    probe = [{"class_path": "plan_probes.ResidentMemory", "init_args": {"output": str(output)}}]
    world.run("fit", "--trainer.callbacks", json.dumps(probe), *flags)
    return int(output.read_text())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")
@pytest.mark.parametrize(("method", "batching"), [("lora", "padded"), ("full", "padded"), ("full", "prefix")])
def test_within_15_percent_of_a_real_fit(world, planned, wide, method, batching):
    flags = [
        "--model.pretrained", wide, "--model.method", method, "--data.batch_size", "11", "--trainer.max_epochs", "1",
        "--name", f"wide-{method}-{batching}", "--model.batching", batching,
    ]  # fmt: skip
    plan = planned(*flags)["memory"]
    assert plan["peak"] == pytest.approx(measured(world, flags), rel=0.15)
    assert plan["peak"] > 100 * 2**20


def test_parts_by_hand(planned):
    """Full fine-tuning in float32: 4 bytes a weight, as many for its gradient, 8 for the optimiser's two averages."""
    plan = planned("--model.method", "full")
    size, memory = 4 * plan["model"]["parameters"], plan["memory"]["moments"]
    step = memory["optimiser step"]
    assert (step["weights"], step["gradients"], step["optimiser state"]) == (size, size, 2 * size)
    assert memory["micro-batch"]["optimiser state"] == 2 * size
    assert plan["memory"]["peak"] == max(sum(parts.values()) for parts in memory.values())


def test_lora_keeps_no_gradient_and_no_state_of_the_base(planned):
    plan = planned("--model.dtype", "bfloat16")
    base, own = plan["model"]["by_dtype"]["bfloat16"], plan["model"]["trainable"]
    step = plan["memory"]["moments"]["optimiser step"]
    assert (step["weights"], step["gradients"], step["optimiser state"]) == (2 * base + 4 * own, 4 * own, 8 * own)


def test_autocast_keeps_copies_of_float32_weights_and_halves_activations(planned, wide):
    full = ["--model.pretrained", wide, "--model.method", "full"]
    exact = planned(*full)["memory"]["moments"]["micro-batch"]
    mixed = planned(*full, "--trainer.precision", "bf16-mixed")
    parts = mixed["memory"]["moments"]["micro-batch"]
    assert "weight copies" not in exact
    assert parts["weight copies"] == pytest.approx(2 * mixed["model"]["parameters"], rel=0.1)
    assert parts["activations"] < 0.8 * exact["activations"]


def test_activation_checkpointing_saves_activations(planned, wide):
    found = [
        planned("--model.pretrained", wide, "--model.activation_checkpointing", how)["memory"]["moments"]["micro-batch"]
        for how in ("off", "selective", "full")
    ]
    off, half, full = (parts["activations"] for parts in found)
    assert full < 0.5 * off
    assert full < half < off


def test_several_devices(planned, wide):
    """DDP has a second copy of the gradients; FSDP2 a part of weights, gradients and state."""
    several = ["--model.pretrained", wide, "--model.method", "full", "--trainer.accelerator", "gpu"]
    several += ["--trainer.devices", "4", "--device", "a100-80"]
    ddp = planned(*several, "--trainer.strategy", "ddp")
    sharded = planned(*several, "--trainer.strategy", "fsdp2")
    size = 4 * ddp["model"]["parameters"]
    assert ddp["memory"]["moments"]["micro-batch"]["communication buffers"] == size
    parts = sharded["memory"]["moments"]["optimiser step"]
    assert (parts["weights"], parts["gradients"]) == (size // 4, size // 4)
    assert parts["optimiser state"] == 2 * size // 4
    micro = sharded["memory"]["moments"]["micro-batch"]
    assert micro["activations"] > 0
    assert sharded["memory"]["peak"] < ddp["memory"]["peak"]


def test_an_evaluation_keeps_keys_and_values(planned):
    flags = ["--safety.active", "true", "--safety.decoding.max_new_tokens", "100", "--safety.decoding.slots", "3"]
    plan = planned(*flags)
    cache = plan["memory"]["moments"]["evaluation"]["key-value cache"]
    per_token = 2 * 2 * 32 * 4  # keys and values, layers, hidden size, bytes
    assert cache % (3 * per_token) == 0
    longest = cache // (3 * per_token) - 100
    assert 130 / 5 < longest < 60
    assert "evaluation" not in planned()["memory"]["moments"]


def test_whatfits():
    """With the 15 % that the estimate may be off, without them, or not at all."""
    device = find_device("a100-80")
    for size, verdict in ((60, "yes"), (75, "perhaps"), (80, "no")):
        found = fits(Memory({"weights": size * GIB}, {"weights": GIB}, {}), device)
        assert (found["fits"], found["peak"], found["device"]) == (verdict, size * GIB, 79 * GIB)
