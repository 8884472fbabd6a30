"""FineTuner alone: what it refuses, its learning rates, what its checkpoints hold."""

import math

import pytest
import torch
from training_fixtures import assert_same, llama_config, save_random

from ptst_pl import InputError
from ptst_pl.model import LoraSettings, add_lora, load_model
from ptst_pl.training.finetuner import FineTuner
from ptst_pl.training.optimiser import share_of_peak

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name


def with_model(tmp_path, method="lora", r=8) -> FineTuner:
    save_random(llama_config(64), tmp_path)
    tuner = FineTuner(str(tmp_path), method=method)
    model = load_model(str(tmp_path), "float32")
    tuner.net = add_lora(model, LoraSettings(r=r)) if method == "lora" else model
    return tuner


def test_full_fine_tuning_needs_float32_master_weights():
    with pytest.raises(InputError, match=r"model.dtype is 'bfloat16' with method 'full'"):
        FineTuner("x", method="full", dtype="bfloat16")


def factors(total=10, schedule="constant", warmup_steps=0):
    return [share_of_peak(step, schedule, warmup_steps, lambda: total) for step in range(total + 1)]


def test_constant_with_warm_up():
    assert factors(4, warmup_steps=2) == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_linear_goes_to_zero():
    assert factors(4, schedule="linear") == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_cosine_with_warm_up_goes_to_zero():
    rates = factors(10, schedule="cosine", warmup_steps=2)
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert rates[4] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert rates[10] == pytest.approx(0)


def test_the_first_rate_asks_for_no_loader():
    """Reading the number of steps before training sets the loader up and loses a resumed run's place."""

    def total() -> int:
        raise AssertionError("asked for the number of steps")

    assert share_of_peak(0, "cosine", 0, total) == 1.0


def test_an_adapters_checkpoint_holds_the_adapter_only(tmp_path):
    tuner = with_model(tmp_path)
    names = tuner.state_dict()
    assert names
    assert all(".lora_" in name for name in names)


def test_a_full_checkpoint_holds_everything(tmp_path):
    tuner = with_model(tmp_path, "full")
    assert {f"net.{name}" for name in tuner.net.state_dict()} == set(tuner.state_dict())


def test_state_comes_back(tmp_path):
    first, second = with_model(tmp_path), with_model(tmp_path)
    for parameter in first.net.parameters():
        torch.nn.init.normal_(parameter.data)
    second.load_state_dict(first.state_dict())
    assert_same(first.state_dict(), second.state_dict())


@pytest.mark.parametrize(("method", "other"), [("lora", "full"), ("full", "lora")])
def test_a_checkpoint_of_another_method_is_refused(tmp_path, method, other):
    state = with_model(tmp_path, other).state_dict()
    with pytest.raises(InputError, match=f"does not fit this model and method '{method}'"):
        with_model(tmp_path, method).load_state_dict(state)


def test_a_checkpoint_of_another_rank_is_refused(tmp_path):
    state = with_model(tmp_path, r=4).state_dict()
    with pytest.raises(InputError, match="8 of another shape"):
        with_model(tmp_path, r=8).load_state_dict(state)


def test_an_adapter_trained_at_another_scale_is_refused():
    checkpoint = {"global_step": 3}
    FineTuner("x", lora=LoraSettings(alpha=32)).on_save_checkpoint(checkpoint)
    with pytest.raises(InputError, match=r"lora\.alpha 32, the config says 16"):
        FineTuner("x", lora=LoraSettings(alpha=16)).on_load_checkpoint(checkpoint)
