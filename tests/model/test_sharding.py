"""Sharding over a group of one process, activation checkpointing, and which strategies are refused."""

from __future__ import annotations

import copy
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor
from training_fixtures import assert_same, llama_config, question_rows, save_random
from transformers import AutoModelForCausalLM, GPT2Config

from ptst_pl import InputError
from ptst_pl.generation import Decoding, generate
from ptst_pl.model import LoraSettings, add_lora, batch_nll, causal_lm, load_model, trainable
from ptst_pl.model.sharding import (
    check_room,
    checkpoint_activations,
    clip_to_norm,
    clip_to_value,
    computing_type,
    decoder_blocks,
    gathered,
    gradients,
    in_root,
    is_sharded,
    shard,
    whole_state,
)
from ptst_pl.model.sharding.files import read_checkpoint, read_weights, write_folder
from ptst_pl.model.sharding.room import no_room
from ptst_pl.tokenization import Encoded
from ptst_pl.tokenization.batches import PadRight
from ptst_pl.training.strategies import check_strategy

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_random(llama_config(64, num_hidden_layers=3, tie_word_embeddings=True), path)
    return path


def model_of(folder: Path, method: str = "full", dtype: str = "float32", dropout: float = 0.0) -> torch.nn.Module:
    model = load_model(str(folder), dtype)
    if method == "full":
        return model.train()
    torch.manual_seed(1)
    adapted = add_lora(model, LoraSettings(dropout=dropout, target_modules="all-linear")).train()
    for name, parameter in trainable(adapted).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return adapted


def batch():
    rows = [[(7 * n + len(row["answer"])) % 60 for n in range(4 + len(row["answer"]) % 9)] for row in question_rows(4)]
    return PadRight(0)([(i, Encoded(ids, [-100] * 2 + ids[2:], 2)) for i, ids in enumerate(rows)])


def loss_and_gradients(model: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(2)
    loss = in_root(batch_nll, model, batch())
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in trainable(model).items()}


# ---- activation checkpointing ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("how", ["selective", "full"])
def test_activation_checkpointing_changes_no_bit(folder: Path, how, method):
    """With dropout, whose masks have to be drawn again as they were."""
    plain, saving = (model_of(folder, method, dropout=0.2) for _ in range(2))
    checkpoint_activations(saving, how)
    runs: list[int] = []
    for block in decoder_blocks(saving):
        block.mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    loss, found = loss_and_gradients(saving)
    expected_loss, expected = loss_and_gradients(plain)
    assert torch.equal(loss, expected_loss)
    assert_same(found, expected)
    assert len(runs) == {"selective": 3 + 2, "full": 3 + 3}[how], "blocks that run again in the backward pass"
    if method == "lora":
        assert all(grad.abs().max() > 0 for name, grad in found.items() if "lora_B" in name)
    assert set(dict(saving.named_parameters())) == set(dict(plain.named_parameters()))


def test_without_gradients_nothing_is_kept_or_repeated(folder: Path):
    plain, saving = model_of(folder), model_of(folder)
    checkpoint_activations(saving, "full")
    prompts, decoding = [[1, 2, 3], [4, 5]], Decoding(max_new_tokens=3)
    assert generate(saving, prompts, [63], 0, decoding) == generate(plain, prompts, [63], 0, decoding)


def test_a_model_without_a_list_of_blocks_is_refused():
    model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=16))
    assert len(decoder_blocks(model)) == 2
    del model.transformer.h[1]
    with pytest.raises(InputError, match="'gpt2' has no list of its 2 blocks"):
        decoder_blocks(model)


# ---- sharding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_loss_and_gradients(folder: Path, mesh: DeviceMesh, method):
    plain, sharded = model_of(folder, method), model_of(folder, method)
    line = shard(sharded, mesh, None)
    assert line.startswith("FSDP2 over 1 ranks: 3 blocks and the root; ")
    loss, found = loss_and_gradients(sharded)
    expected_loss, expected = loss_and_gradients(plain)
    torch.testing.assert_close(loss, expected_loss)
    for name, grad in found.items():
        assert isinstance(grad, DTensor)
        torch.testing.assert_close(grad.full_tensor(), expected[name])
    assert clip_to_norm(trainable(sharded).values(), 0.1) == pytest.approx(
        torch.nn.utils.clip_grad_norm_(trainable(plain).values(), 0.1).item(), rel=1e-6
    )
    for own, reference in zip(gradients(sharded.parameters()), gradients(plain.parameters()), strict=True):
        torch.testing.assert_close(own, reference)


def test_a_bfloat16_computation_keeps_float32_shards(folder: Path, mesh: DeviceMesh):
    model = model_of(folder)
    shard(model, mesh, computing_type("bf16-mixed"))
    seen: list[torch.dtype] = []
    decoder_blocks(model)[0].mlp.up_proj.register_forward_pre_hook(lambda m, _: seen.append(m.weight.dtype))
    _, grads = loss_and_gradients(model)
    assert seen == [torch.bfloat16]
    assert {p.dtype for p in model.parameters()} | {g.dtype for g in grads.values()} == {torch.float32}
    assert computing_type("32-true") is None


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_float32_adapters_on_a_bfloat16_base(folder: Path, mesh: DeviceMesh, precision: str):
    model = model_of(folder, "lora", "bfloat16")
    shard(model, mesh, computing_type(precision))
    _, grads = loss_and_gradients(model)
    assert {grad.dtype for grad in grads.values()} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_gathered_parameters_need_no_other_rank_and_are_given_back(folder: Path, mesh: DeviceMesh, monkeypatch):
    plain, sharded = model_of(folder), model_of(folder)
    shard(sharded, mesh, None)
    prompts, decoding = [[1, 2, 3], [4, 5], [6]], Decoding(max_new_tokens=4, batch_size=2)
    with gathered(sharded):
        inside = {id(p) for p in sharded.parameters()}
        assert not any(isinstance(p, DTensor) for p in sharded.parameters())
        assert generate(sharded, prompts, [63], 0, decoding) == generate(plain, prompts, [63], 0, decoding)
        assert {id(p) for p in sharded.parameters()} == inside, "nothing was freed and gathered again"
    assert all(isinstance(p, DTensor) for p in sharded.parameters())
    with torch.no_grad():
        in_root(batch_nll, sharded, batch())
    blocks = [p for block in decoder_blocks(sharded) for p in block.parameters()]
    assert all(isinstance(p, DTensor) for p in blocks), "blocks are freed again after a pass"
    _, found = loss_and_gradients(sharded)
    _, expected = loss_and_gradients(plain)
    torch.testing.assert_close({n: g.full_tensor() for n, g in found.items()}, expected)
    with gathered(plain):
        assert not is_sharded(plain)


def test_a_model_that_no_device_holds_whole_is_refused_with_its_numbers(folder: Path, mesh: DeviceMesh):
    model = model_of(folder)
    shard(model, mesh, torch.bfloat16)
    numbers = sum(p.numel() for p in model.parameters())
    needed = 2 * numbers + 1000 + 8 * numbers  # whole in bfloat16, what is held, AdamW's state of the one rank
    assert no_room(model, torch.bfloat16, 1000, needed) == ""
    said = no_room(model, torch.bfloat16, 1000, needed - 1)
    assert "gathers the whole model on every device" in said
    assert f"a device here has {(needed - 1) / 1e9:.1f} GB" in said
    assert no_room(model, None, 1000, needed), "float32 takes twice as much"
    check_room(model, None, torch.device("cpu"))  # a processor's memory is not asked


def test_tied_weights_stay_tied(folder: Path, mesh: DeviceMesh):
    model = model_of(folder)
    shard(model, mesh, None)
    inner = causal_lm(model)
    assert inner.lm_head.weight is inner.model.embed_tokens.weight
    state = whole_state(model, ["lm_head.weight", "model.embed_tokens.weight"], keep=True)
    assert state["lm_head.weight"] is state["model.embed_tokens.weight"]
    assert whole_state(model, ["lm_head.weight"], keep=False) == {}


def test_clipping_by_value(folder: Path):
    one, other = model_of(folder), model_of(folder)
    loss_and_gradients(one), loss_and_gradients(other)
    clip_to_value(one.parameters(), 0.01)
    torch.nn.utils.clip_grad_value_(other.parameters(), 0.01)
    assert_same({n: p.grad for n, p in one.named_parameters()}, {n: p.grad for n, p in other.named_parameters()})


def test_clipping_is_torchs_to_the_bit(folder: Path):
    one, other = model_of(folder), model_of(folder)
    loss_and_gradients(one), loss_and_gradients(other)
    assert torch.equal(
        clip_to_norm(one.parameters(), 0.01), torch.nn.utils.clip_grad_norm_(list(other.parameters()), 0.01)
    )
    assert_same({n: p.grad for n, p in one.named_parameters()}, {n: p.grad for n, p in other.named_parameters()})


# ---- folders ----------------------------------------------------------------------------------------


@pytest.fixture
def written(folder: Path, mesh: DeviceMesh, tmp_path: Path) -> Path:
    model = model_of(folder)
    shard(model, mesh, None)
    contents = {"state_dict": model.state_dict(), "optimizer_states": [], "global_step": 3}
    write_folder(tmp_path / "step.ckpt", contents, list(trainable(model)), first=True)
    return tmp_path / "step.ckpt"


def test_a_folder_is_read_without_the_tensors(written: Path):
    assert read_checkpoint(written, tensors=False) == {"global_step": 3}
    assert (
        read_checkpoint(written)["state_dict"].keys() == read_checkpoint(written, optimizers=False)["state_dict"].keys()
    )


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "meta.pt"])
@pytest.mark.parametrize("damage", ["empty", "half", "missing"])
def test_a_damaged_folder_is_one_line(written: Path, name: str, damage: str):
    file = written / name
    whole = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(whole[: len(whole) // 2 if damage == "half" else 0])
    elif name == "meta.pt":
        return  # not a checkpoint's folder
    with pytest.raises(InputError, match=r"step.ckpt: the checkpoint cannot be read \(.*\); give another one"):
        read_checkpoint(written)


class Foreign:
    def __reduce__(self):
        return os.mkdir, ("done",)


def test_a_foreign_index_is_not_run(written: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (written / ".metadata").write_bytes(pickle.dumps(Foreign()))
    with pytest.raises(InputError, match=r"cannot be read \(.metadata names \w+\.mkdir\)"):
        read_checkpoint(written)
    assert not Path("done").exists()


def test_weights_of_another_shape_are_left_to_the_caller(written: Path, folder: Path):
    own = copy.deepcopy(model_of(folder)).state_dict()
    assert all(value.device.type == "cpu" for value in read_weights(written, own).values())
    own["lm_head.weight"] = torch.zeros(3, 3)
    found = read_weights(written, own)
    assert found["lm_head.weight"].shape == (64, 32)
    assert math.prod(found["lm_head.weight"].shape) == 64 * 32


# ---- strategies -------------------------------------------------------------------------------------


def named(path: str, **arguments) -> SimpleNamespace:
    return SimpleNamespace(class_path=path, init_args=arguments)


MODEL_PARALLEL = "lightning.pytorch.strategies.ModelParallelStrategy"


@pytest.mark.parametrize(
    "given",
    [
        "auto",
        "ddp",
        "fsdp2",
        named("lightning.pytorch.strategies.DDPStrategy"),
        named(MODEL_PARALLEL, tensor_parallel_size=1),
    ],
)
def test_what_works(given):
    check_strategy(given, "bf16-mixed", "none")


@pytest.mark.parametrize(
    ("given", "precision", "quantize", "message"),
    [
        ("fsdp", "32-true", "none", "trainer.strategy is 'fsdp', which is not supported; give one of auto, ddp, fsdp2"),
        ("deepspeed_stage_2", "32-true", "none", "'deepspeed_stage_2', which is not supported"),
        (
            named("lightning.pytorch.strategies.FSDPStrategy"),
            "32-true",
            "none",
            "FSDPStrategy', which is not supported",
        ),
        (named(MODEL_PARALLEL), "32-true", "none", "tensor_parallel_size is None"),
        (named(MODEL_PARALLEL, tensor_parallel_size="auto"), "32-true", "none", "tensor_parallel_size is 'auto'"),
        (named(MODEL_PARALLEL, tensor_parallel_size=2), "32-true", "none", "set it to 1, or give fsdp2"),
        ("fsdp2", "16-mixed", "none", "use bf16-mixed"),
        ("fsdp2", "32-true", "nf4", "quantised weights cannot be sharded; use strategy ddp"),
    ],
)
def test_what_does_not_work_is_refused(given, precision, quantize, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        check_strategy(given, precision, quantize)
