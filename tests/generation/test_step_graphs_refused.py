"""A recording that does not compute what the step does, or cannot be made, is not used: plain steps go on."""

from __future__ import annotations

import functools

import pytest
import torch
from engine_models import differences
from engine_models import ours as answers_of
from engine_models import recorded_case as case
from step_tape import TapeRecorder

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import release
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.step_graph import Recording

# One id that ends answers, not four: there are steps enough to record.
ours = functools.partial(answers_of, stops=[1])


class Spoilt(TapeRecorder):
    """Its third recording computes something else."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how

    def record(self, step):
        found = super().record(step)
        if len(self.replays) < 3:
            return found
        graphs = step.func.__self__

        def replay():
            found.replay()
            self.how(found.logits, graphs)

        return Recording(replay, found.logits)


def other_logits(logits, graphs):
    logits[0] += 0.1 * logits.abs().max()


def no_numbers(logits, graphs):
    logits[0, 3] = float("nan")


def other_token(logits, graphs):
    graphs.ids[0] += 1


def same_place(logits, graphs):
    graphs.places[0] -= 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (other_logits, "gives other logits (by "),
        (no_numbers, "gives other logits (by nan"),
        (other_token, "leaves other tokens or places behind"),
        (same_place, "leaves other tokens or places behind"),
    ],
)
def test_a_wrong_recording_is_noticed_and_plain_steps_go_on(how, reason, recorders, caplog):
    recorders.make = lambda: Spoilt(how)
    model, requests, expected = case()
    found = ours(model, requests, Decoding(slots=5))
    assert differences(model, requests, found, expected) == []
    assert len(recorders.replays) == 3
    assert len(recorders.given[0].live) == 0
    assert [record.getMessage() for record in caplog.records if "CUDA graphs" in record.getMessage()] == [
        next(line for line in caplog.messages if line.startswith(f"generation: no CUDA graphs for llama: {reason}"))
    ]
    assert ours(model, requests, Decoding(slots=5)) == found
    assert len(recorders.given) == 1  # not tried again


class Forgetful(TapeRecorder):
    """Numbers that a step was recorded with stay in the recording."""

    def record(self, step):
        graphs = step.func.__self__
        ids, places = graphs.ids.clone(), graphs.places.clone()
        found = super().record(step)

        def replay():
            graphs.ids.copy_(ids)
            graphs.places.copy_(places)
            found.replay()

        return Recording(replay, found.logits)


class Keyless(TapeRecorder):
    """New keys and values do not arrive in the slots."""

    def record(self, step):
        found = super().record(step)
        (tape,) = self.live
        tape.made = [one for one in tape.made if one[0] is not torch.ops.aten.index_put_.default]
        return found


@pytest.mark.parametrize("recorder", [Forgetful, Keyless])
def test_what_the_same_step_just_before_would_hide_shows(recorder, recorders, caplog):
    """A step of the same numbers leaves its tokens, places, keys and values where the replay would look for its own."""
    recorders.make = recorder
    model, requests, expected = case()
    assert differences(model, requests, ours(model, requests, Decoding(slots=5)), expected) == []
    assert "no CUDA graphs for llama: gives other logits" in caplog.text


def test_a_model_whose_steps_wait_for_the_device_is_served_without(recorders, caplog):
    model, requests, expected = case()
    own = model.model.norm.forward
    model.model.norm.forward = lambda hidden: own(hidden) if float(hidden.abs().max()) < 1e9 else None
    assert ours(model, requests) == expected
    assert ours(model, requests) == expected
    assert caplog.messages == [
        "generation: no CUDA graphs for llama: aten._local_scalar_dense.default waits for the device"
    ]
    assert recorders.replays == []


class Scarce(TapeRecorder):
    """There is memory for two recordings."""

    def record(self, step):
        if len(self.replays) == 2:
            raise torch.OutOfMemoryError("not enough")
        return super().record(step)


def test_without_memory_for_recordings_all_slots_go_on(recorders, caplog):
    recorders.make = Scarce
    model, requests, expected = case()
    for _ in range(2):  # the next run tries again
        found = ours(model, requests, Decoding(slots=5))
        assert differences(model, requests, found, expected) == []
    assert caplog.messages == ["generation: no memory for CUDA graphs, going on without"] * 2
    assert len(recorders.replays) == 4
    assert [len(one.live) for one in recorders.given] == [0, 0]


def test_without_memory_for_steps_there_are_fewer_slots(recorders, monkeypatch, caplog):
    model, requests, expected = case()
    release(model)
    own = ModelRunner.next_logits

    def scarce(self, ids, places, work):
        if len(ids) > 4 and sum(recorders.replays) > 3:
            raise torch.OutOfMemoryError("not enough")
        return own(self, ids, places, work)

    monkeypatch.setattr(ModelRunner, "next_logits", scarce)
    found = ours(model, requests)
    assert differences(model, requests, found, expected) == []
    assert [len(one.live) for one in recorders.given] == [0] * len(recorders.given)
