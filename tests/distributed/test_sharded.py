"""FSDP2 over two real processes: the training of one process, and checkpoints that any number of processes reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_fixtures import PROMPTS, World, assert_same, curve, distance, lines, llama_config, save_random, weights

from ptst_pl.cli import main
from ptst_pl.model.sharding.files import read_checkpoint

# 21 rows: the last global batch has one row, so the second rank gets none of it.
COMMON = (
    *("--data.init_args.train_limit", "21", "--trainer.accumulate_grad_batches", "2"),
    *("--trainer.limit_val_batches", "1.0", "--trainer.gradient_clip_val", "0.1"),
    *("--safety.active", "true", "--safety.every_n_steps", "4"),
    *("--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1"),
)
FULL, LORA = ("--model.method", "full"), ("--model.method", "lora")
METHODS = pytest.mark.parametrize("method", ["full", "lora"])
LIGHTNINGS_OWN = json.dumps(
    {
        "class_path": "lightning.pytorch.strategies.ModelParallelStrategy",
        "init_args": {"data_parallel_size": 2, "tensor_parallel_size": 1},
    }
)
STRATEGIES = {"full": "fsdp2", "lora": LIGHTNINGS_OWN}
ALONE, PAIR = ("--data.init_args.batch_size", "4"), ("--data.init_args.batch_size", "2")


def options(method: str) -> tuple[str, ...]:
    return (*COMMON, "--model.method", method, "--model.activation_checkpointing", "selective")


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint)["state_dict"]


@pytest.fixture(scope="module", autouse=True)
def uneven(world: World) -> Iterator[None]:
    """A vocabulary that two ranks cannot share evenly, and tied embeddings (pitfall E8)."""
    files = [world.folder / "model" / name for name in ("config.json", "model.safetensors")]
    before = [file.read_bytes() for file in files]
    save_random(llama_config(423, tie_word_embeddings=True), str(world.folder / "model"))
    yield
    for file, content in zip(files, before, strict=True):
        file.write_bytes(content)


@pytest.fixture(scope="module")
def one(world: World) -> dict[str, Path]:
    return {method: world.fit(f"alone-{method}", *options(method), *ALONE) for method in STRATEGIES}


@pytest.fixture(scope="module")
def two(world: World) -> dict[str, Path]:
    return {
        method: world.fit_ranks(f"sharded-{method}", *options(method), *PAIR, strategy=strategy)
        for method, strategy in STRATEGIES.items()
    }


@METHODS
def test_the_training_of_one_process(one: dict[str, Path], two: dict[str, Path], method: str):
    """Unequal token counts, a rank without rows, clipping, selective activation checkpointing."""
    assert distance(weights(one[method]), state(two[method] / "last.ckpt")) < 1e-5
    for tag in ("train/loss", "train/tokens", "train/grad_norm", "val/loss"):
        expected = curve(one[method], tag)
        assert len(expected) == (2 if tag == "val/loss" else 6)
        assert curve(two[method], tag) == [(step, pytest.approx(value, rel=1e-5)) for step, value in expected]


@METHODS
def test_the_same_answers_on_shares_of_different_size(one: dict[str, Path], two: dict[str, Path], method: str):
    records = lines(two[method] / "safety/generations.jsonl")
    assert PROMPTS % 2 == 1
    assert len(records) == 3 * PROMPTS
    assert records == lines(one[method] / "safety/generations.jsonl")


def test_a_checkpoint_holds_what_is_trained_once(two: dict[str, Path]):
    adapter = state(two["lora"] / "last.ckpt")
    assert adapter
    assert all(".lora_" in name for name in adapter)
    contents = read_checkpoint(two["full"] / "last.ckpt")
    slots = contents["optimizer_states"][0]["state"]
    assert len(slots) == len(contents["state_dict"]) - 1  # the tied head is trained as the embedding
    assert {value.dtype for slot in slots.values() for value in slot.values()} == {torch.float32}
    assert sorted(path.name for path in (two["full"] / "last.ckpt").iterdir()) == [
        ".metadata", "__0_0.distcp", "__1_0.distcp", "meta.pt",
    ]  # fmt: skip


@METHODS
def test_two_processes_go_on_bit_for_bit(world: World, two: dict[str, Path], method: str):
    """Once without the safety curve, which therefore does not move the training."""
    checkpoint = ("--ckpt_path", str(two[method] / "step-000002.ckpt"))
    quiet = ("--safety.active", "false") if method == "full" else ()
    again = world.fit_ranks(f"again-{method}", *options(method), *PAIR, *checkpoint, *quiet, strategy="fsdp2")
    assert_same(state(again / "last.ckpt"), state(two[method] / "last.ckpt"))
    assert curve(again, "train/loss") == curve(two[method], "train/loss")[2:]


@METHODS
def test_one_process_goes_on_where_two_stopped(world: World, one: dict[str, Path], two: dict[str, Path], method: str):
    checkpoint = ("--ckpt_path", str(two[method] / "step-000003.ckpt"))
    resumed = world.fit(f"one-after-{method}", *options(method), *ALONE, *checkpoint)
    assert distance(weights(one[method]), weights(resumed)) < 1e-5


def test_two_processes_go_on_where_one_stopped(world: World, one: dict[str, Path]):
    checkpoint = ("--ckpt_path", str(one["full"] / "step-000003.ckpt"))
    resumed = world.fit_ranks("two-after-one", *options("full"), *PAIR, *checkpoint, strategy="fsdp2")
    assert distance(weights(one["full"]), state(resumed / "last.ckpt")) < 1e-5


def test_mixed_precision_keeps_float32_adapters(world: World):
    """On a bfloat16 base (pitfalls E2, E7, E9); the losses are those of one process, but for rounding."""
    mixed = ("--trainer.precision", "bf16-mixed", "--model.dtype", "bfloat16", "--trainer.max_epochs", "1")
    alone, pair = world.fit("mixed-1", *mixed, *ALONE), world.fit_ranks("mixed-2", *mixed, *PAIR, strategy="fsdp2")
    adapter = state(pair / "last.ckpt")
    assert {value.dtype for value in adapter.values()} == {torch.float32}
    assert all(value.abs().max() > 0 for value in adapter.values())
    losses = dict(curve(alone, "train/loss"))
    assert losses
    assert dict(curve(pair, "train/loss")) == pytest.approx(losses, rel=0.01)


def test_one_device_is_enough(world: World, one: dict[str, Path]):
    """The same config on a machine with one device."""
    alone = world.fit("fsdp2-alone", *options("full"), *ALONE, "--trainer.strategy", "fsdp2")
    assert distance(weights(one["full"]), state(alone / "last.ckpt")) < 1e-6


# ---- evaluation -----------------------------------------------------------------------------------


def test_a_sharded_checkpoint_is_tested_by_one_and_by_two(world: World, two: dict[str, Path]):
    last = ("--ckpt_path", str(two["full"] / "last.ckpt"), *FULL, *COMMON[:2], "--safety.active", "true")
    for name, ranks in (("t1", 1), ("t2", 2)):
        command = ("test", *last, "--results", str(world.folder / name))
        runs = world.start_ranks(*command, strategy="fsdp2") if ranks == 2 else [world.start(*command)]
        for run in runs:
            run.wait().ok()
    t1, t2 = (world.folder / name / "generations.jsonl" for name in ("t1", "t2"))
    assert t1.read_text() == t2.read_text()
    assert {record["step"] for record in lines(t1)} == {6}


def test_the_held_out_loss_of_two(world: World, two: dict[str, Path]):
    command = ("validate", *FULL, "--trainer.limit_val_batches", "1.0", "--ckpt_path", str(two["full"] / "last.ckpt"))
    runs = [run.wait().ok() for run in world.start_ranks(*command, strategy="fsdp2")]
    [table] = [line for line in runs[0].out.splitlines() if "val/loss" in line]
    assert float(table.split()[-2]) == pytest.approx(curve(two["full"], "val/loss")[-1][1], rel=1e-6)


# ---- one plain folder -------------------------------------------------------------------------------


def test_the_model_at_the_end_is_one_plain_folder(one: dict[str, Path], two: dict[str, Path]):
    from safetensors.torch import load_file

    for method, file in (("full", "model/model.safetensors"), ("lora", "adapter/adapter_model.safetensors")):
        alone, sharded = load_file(one[method] / file), load_file(two[method] / file)
        assert distance(alone, sharded) < 1e-5
        for name in ("config.json", "adapter_config.json"):
            path = Path(file).parent / name
            if (one[method] / path).is_file():
                left, right = (json.loads((runs[method] / path).read_text()) for runs in (one, two))
                assert left == right
    checkpoint = {name.removeprefix("net."): value for name, value in state(two["full"] / "last.ckpt").items()}
    assert checkpoint.keys() - load_file(two["full"] / "model/model.safetensors").keys() == {"lm_head.weight"}


@METHODS
def test_export_reads_a_sharded_run(two: dict[str, Path], method: str, tmp_path: Path):
    from safetensors.torch import load_file

    main(["export", str(two[method]), "--output", str(tmp_path / method)])
    exported = load_file(tmp_path / method / "model.safetensors")
    if method == "full":
        assert_same(exported, load_file(two["full"] / "model/model.safetensors"))
    assert exported["model.embed_tokens.weight"].shape[0] == 423


# ---- refusals -----------------------------------------------------------------------------------


def test_a_sharded_checkpoint_of_another_kind_is_refused(world: World, two: dict[str, Path]):
    full, adapter = (("--ckpt_path", str(two[method] / "last.ckpt")) for method in ("full", "lora"))
    message = "not the same thing: training."  # method and rank
    for started in (
        [world.start("fit", "--name", "no", *full, *LORA)],
        world.start_ranks("fit", "--name", "no", *adapter, *LORA, "--model.lora.r", "4", strategy="fsdp2"),
    ):
        for run in [process.wait() for process in started]:
            assert run.status == 2, run.err[-2000:]
            assert message in run.err
            assert "Traceback" not in run.err
