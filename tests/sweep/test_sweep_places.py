"""Which run gets which GPUs, and the steps that a run's TensorBoard file tells."""

from __future__ import annotations

import pytest
from torch.utils.tensorboard import SummaryWriter

from ptst_pl import InputError
from ptst_pl.sweep import local
from ptst_pl.sweep.local import places
from ptst_pl.sweep.steps import StepReader


def trainer(devices=1, accelerator="auto"):
    return {"devices": devices, "accelerator": accelerator}


@pytest.mark.parametrize(
    ("one", "jobs", "expected"),
    [
        (trainer(), None, ["4", "5", "6", "7"]),
        (trainer(), 2, ["4", "5"]),
        (trainer(2), None, ["4,5", "6,7"]),
        (trainer(4), None, [None]),
        (trainer("auto"), None, [None]),
        (trainer("auto"), 2, ["4,5", "6,7"]),
        (trainer(1, "cpu"), None, [None]),
        (trainer(1, "cpu"), 3, [None, None, None]),
    ],
)
def test_one_run_per_device(monkeypatch, one, jobs, expected):
    monkeypatch.setattr(local, "_visible", lambda: ["4", "5", "6", "7"])
    assert places([one], jobs) == expected


@pytest.mark.parametrize(
    ("one", "jobs", "message"),
    [
        (trainer(2), 3, "3 runs at a time with 2 GPUs each, but 4 are here"),
        (trainer(8), None, "1 runs at a time with 8 GPUs each, but 4 are here"),
        (trainer([0, 1]), 2, "trainer.devices names GPUs"),
    ],
)
def test_more_than_there_is(monkeypatch, one, jobs, message):
    monkeypatch.setattr(local, "_visible", lambda: ["4", "5", "6", "7"])
    with pytest.raises(InputError) as caught:
        places([one], jobs)
    assert message in str(caught.value)


def test_steps_are_read_on_from_where_the_last_look_ended(tmp_path):
    reader = StepReader()
    assert reader.step(None) == reader.step(tmp_path) == 0
    with SummaryWriter(str(tmp_path)) as writer:
        for step in (1, 2, 300):
            writer.add_scalar("train/loss", 0.5, step)
            writer.flush()
            assert reader.step(tmp_path) == step
    (file,) = tmp_path.glob("events.*")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])  # half a record: a write that has not come to its end
    assert reader.step(tmp_path) == 300
    assert StepReader().step(tmp_path) == 300
