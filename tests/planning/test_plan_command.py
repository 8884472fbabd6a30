"""The command itself: its table, and what it says of bad input."""

from __future__ import annotations

import pytest

from ptst_pl import InputError
from ptst_pl.planning.devices import DEVICES, GIB, find_device
from ptst_pl.planning.settings import limited, read_training

TRAINER = {
    "devices": 1, "num_nodes": 1, "accelerator": "gpu", "strategy": "auto", "precision": None, "fast_dev_run": False,
    "accumulate_grad_batches": 1, "max_epochs": 3, "max_steps": -1, "limit_train_batches": None,
    "limit_val_batches": None, "val_check_interval": None, "check_val_every_n_epoch": 1,
}  # fmt: skip


def test_the_table(world):
    out = world.run("plan", "--device", "h100", "--safety.active", "true", "--model.dtype", "bfloat16").out
    titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles == [
        "Model", "Data", "Steps and operations", "Safety evaluations", "Memory per device (NVIDIA H100 SXM)",
        "Time on NVIDIA H100 SXM",
    ]  # fmt: skip
    assert "47,520 bfloat16 + 2,048 float32" in out
    assert "30 % of 989 TFLOP/s" in out
    assert "into 79.00 GiB" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "h10"], "plan: unknown --device 'h10'; did you mean 'h100'? (known: cpu, a10,"),
        (["--model.metod", "full"], "unknown flag --model.metod; did you mean 'model.method'?"),
        (["--devise", "h100"], "did you mean 'device'?"),
        (["--utilisation", "30"], "--utilisation is 30.0, expected a share above 0 and up to 1"),
        (["--sample", "none"], "plan: argument --sample: invalid int value: 'none'"),
        (["--model.pretrained", "nowhere/none"], "nowhere/none"),
        (["--trainer.max_epochs", "-1"], "a run without an end has no plan"),
        (["--model.lora.target_modules", "[q]"], "name no layer of 'llama'"),
    ],
)
def test_bad_input_is_one_line(world, options, message):
    run = world.start("plan", *options).wait()
    assert run.status == 2
    last = run.err.strip().splitlines()[-1]
    assert last.startswith("ptst_pl: error: ")
    assert message in last
    assert "Traceback" not in run.err


def test_slower_at_less_utilisation_and_faster_on_more_devices(planned):
    def hours(*options):
        return planned("--device", "a100-80", "--model.dtype", "bfloat16", *options)["time"]["hours"]["training"]

    assert hours("--utilisation", "0.15") == pytest.approx(2 * hours())
    assert hours("--trainer.accelerator", "gpu", "--trainer.devices", "2") < hours()


def test_every_device_is_plausible():
    for device in DEVICES.values():
        assert device.bf16 > device.fp32 > 10e12
        assert 20 * GIB <= device.memory < 300 * GIB
        assert 2e11 < device.bandwidth < 1e13
    with pytest.raises(InputError, match="did you mean 'l40s'"):
        find_device("l4os")


class TestTrainer:
    """How the trainer's keys are read, beside what Lightning does."""

    @pytest.mark.parametrize(("devices", "count"), [(4, 4), ("4", 4), ([0, 2], 2), ("0,2", 2), ("0,", 1), ("auto", 1)])
    def test_devices(self, devices, count):
        assert read_training(TRAINER | {"devices": devices, "accelerator": "cpu"}).devices == count

    def test_no_devices(self):
        with pytest.raises(InputError, match=r"trainer\.devices is 'many', expected a number"):
            read_training(TRAINER | {"devices": "many"})

    @pytest.mark.parametrize(
        ("strategy", "sharing"),
        [
            ("auto", "ddp"), ("ddp", "ddp"), ("fsdp2", "fsdp2"),
            ({"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}, "fsdp2"),
        ],
    )  # fmt: skip
    def test_sharing(self, strategy, sharing):
        assert read_training(TRAINER | {"devices": 2, "strategy": strategy}).sharing == sharing

    def test_the_end_of_a_run(self):
        assert read_training(TRAINER).total_steps(10) == 30
        assert read_training(TRAINER | {"accumulate_grad_batches": 4}).total_steps(10) == 9
        assert read_training(TRAINER | {"max_steps": 7}).total_steps(10) == 7
        assert read_training(TRAINER | {"max_epochs": None, "max_steps": 70}).total_steps(10) == 70
        assert read_training(TRAINER | {"max_epochs": None}).total_steps(10) == 10_000

    def test_validations(self):
        for changes, steps, count in (
            ({}, 30, 3), ({"val_check_interval": 0.5}, 30, 6), ({"val_check_interval": 4}, 30, 6), ({}, 25, 2),
            ({"val_check_interval": 4, "check_val_every_n_epoch": None}, 30, 7),
            ({"check_val_every_n_epoch": 2}, 30, 1), ({"val_check_interval": 0.5}, 25, 5),
        ):  # fmt: skip
            assert read_training(TRAINER | changes).validations(10, steps) == count, changes

    def test_limits(self):
        assert [limited(10, limit) for limit in (None, 3, 30, 0.25, 1.0, 0)] == [10, 3, 10, 2, 10, 0]
