"""Recorded decode steps give the plain steps' answers, whatever the schedule, and are gone afterwards."""

from __future__ import annotations

import contextlib
import functools

import pytest
import torch
from engine_models import LASTING, differences, model_of, prompts_of, requests_of
from engine_models import ours as answers_of
from engine_models import recorded_case as case

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import engine as engine_module
from ptst_pl.generation.engine import prefix as prefix_module
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.recorder import recordable
from ptst_pl.model import LoraSettings, add_lora

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
SAMPLED = {"temperature": 1.3, "top_p": 0.95, "top_k": 50}
# One id that ends answers, not four: there are steps enough to record.
ours = functools.partial(answers_of, stops=[1])


@pytest.mark.parametrize("kind", LASTING)
def test_answers_are_those_of_plain_steps(kind, recorders):
    """Slots from one to more than requests, looks of one step and of many: refills, moves, idle rows."""
    model, requests, expected = case(kind, count=10)
    more = ((5, 1), (1, 8)) if kind == "llama" else ()
    for slots, every in ((64, 8), (3, 4), *more):
        found = ours(model, requests, Decoding(slots=slots), every=every)
        assert differences(model, requests, found, expected) == []
        assert sum(recorders.given[-1].replays) > 5 * len(recorders.given[-1].replays) > 0


def test_a_mixture_of_experts(recorders):
    model, requests, _ = case("mixtral")
    expected = answers_of(model, requests, stops=[], graphs=False)
    assert answers_of(model, requests, stops=[]) == expected
    assert sum(recorders.replays) > 10


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_sampled_answers_too(kind, recorders):
    model, requests, _ = case(kind)
    expected = ours(model, requests, Decoding(**SAMPLED), stops=[], graphs=False)
    for slots, every in ((64, 8), (3, 4), (5, 1)):
        assert ours(model, requests, Decoding(slots=slots, **SAMPLED), stops=[], every=every) == expected
        assert sum(recorders.given[-1].replays) > 10


def test_groups_with_other_prefixes_have_recordings_of_their_own(recorders, monkeypatch):
    monkeypatch.setattr(prefix_module, "LEAST", 4)
    monkeypatch.setattr(prefix_module, "COST", 0)
    model = model_of("qwen3")
    prompts = prompts_of(8, 20, seed=1) + prompts_of(8, 12, seed=2) + prompts_of(4, 0, seed=3)
    requests = requests_of(prompts, longest=24)
    expected = ours(model, requests, Decoding(slots=4), graphs=False)
    found = ours(model, requests, Decoding(slots=4), every=4)
    assert differences(model, requests, found, expected) == []
    assert len(recorders.given) == 3
    assert all(sum(one.replays) for one in recorders.given)


def test_slots_that_an_earlier_larger_run_left(recorders):
    model, requests, expected = case(count=20)
    ours(model, requests_of(prompts_of(20, 0, seed=5)), Decoding(**SAMPLED))
    kept = engine_module._caches[model]
    assert ours(model, requests[:3], every=8) == expected[:3]
    assert engine_module._caches[model] is kept


def test_weights_and_adapters_are_those_of_each_run(recorders):
    """A recording reads the weights where they lay: it must not outlive them."""
    model, requests, plain = case()
    model = add_lora(model, LoraSettings(target_modules=["q_proj", "down_proj"]))
    answers = []
    for seed in (0, 1):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                draw = torch.Generator().manual_seed(seed)
                parameter.data = torch.randn(parameter.shape, generator=draw)  # at another address
        answers.append(ours(model, requests))
        assert answers[-1] == ours(model, requests, graphs=False)
    with model.disable_adapter():
        assert ours(model, requests) == plain
    assert plain != answers[0] != answers[1]
    assert len(recorders.given) == 3
    assert all(sum(one.replays) for one in recorders.given)


@pytest.mark.parametrize("end", ["well", "between steps", "in a step"])
def test_nothing_is_held_afterwards(end, recorders, monkeypatch):
    """Not by the traceback of an error either."""
    model, requests, _ = case()
    own = ModelRunner.next_logits

    def check(where):
        assert end != where or sum(recorders.replays) < 9, "enough"

    monkeypatch.setattr(ModelRunner, "next_logits", lambda *inputs: (check("in a step"), own(*inputs))[1])
    with contextlib.nullcontext() if end == "well" else pytest.raises(AssertionError, match="enough") as error:
        ours(model, requests, Decoding(slots=5), progress=lambda tokens: check("between steps"))
    assert sum(recorders.replays) > 8
    assert [len(one.live) for one in recorders.given] == [0]
    del error


def test_they_can_be_switched_off_and_need_a_model_without_hooks(recorders):
    model, requests, expected = case()
    assert ours(model, requests, graphs=False) == expected
    handle = model.model.layers[1].register_forward_hook(lambda *_: None)
    assert ours(model, requests) == expected
    assert recorders.given == []
    handle.remove()
    with torch.enable_grad():
        assert not recordable(model)
    ours(model, requests)
    assert recorders.replays
