"""What the engine leaves behind: the model as it was, and its slots only as long as they are wanted."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from engine_models import model_of, ours, prompts_of, requests_of

from ptst_pl import InputError
from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import engine as engine_module
from ptst_pl.generation.engine import obstacle, release, run
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.request import Request

SAMPLED = Decoding(temperature=1.0, top_p=0.9, slots=3)


class BoomError(Exception):
    pass


@pytest.fixture
def model():
    return model_of("gemma2")


@pytest.fixture
def requests():
    return requests_of(prompts_of(9, 21))


def state(model):
    """All that training could notice."""
    numbers = np.random.get_state()
    return (
        {name: module.training for name, module in model.named_modules()},
        {name: (tensor.dtype, tensor.clone()) for name, tensor in model.state_dict().items()},
        model.config.to_dict(),
        model.config._attn_implementation,
        model.generation_config.to_dict(),
        {name: sorted(vars(module)) for name, module in model.named_modules()},
        torch.get_rng_state(),
        random.getstate(),
        (numbers[0], numbers[1].tolist()),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        if isinstance(left, dict) and left and isinstance(next(iter(left.values())), tuple):
            assert all(torch.equal(left[name][1], right[name][1]) and left[name][0] == right[name][0] for name in left)
        elif isinstance(left, torch.Tensor):
            assert torch.equal(left, right)
        else:
            assert left == right


@pytest.mark.parametrize("where", ["nowhere", "done", "progress", "stop_text", "forward"])
def test_the_model_is_as_before_however_it_ends(model, requests, where, monkeypatch):
    model.model.layers[0].eval()  # a mixed state must come back as it was
    model.config.use_cache = False
    before, calls = state(model), []

    def third(*_):
        calls.append(1)
        if len(calls) == 3:
            raise BoomError

    if where == "forward":
        own = ModelRunner.next_logits
        monkeypatch.setattr(ModelRunner, "next_logits", lambda *inputs: (third(), own(*inputs))[1])
    hooks = {where: third} if where in ("done", "progress", "stop_text") else {}
    options = {"done": lambda index, answer: None} | hooks
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = torch.is_autocast_enabled("cpu")
        try:
            run(model, requests, [], SAMPLED, **options)
        except BoomError:
            assert where != "nowhere"
        else:
            assert where == "nowhere"
        assert inside
        assert torch.is_autocast_enabled("cpu")
    assert_same(state(model), before)
    assert obstacle(model) == ""
    assert_same(state(model), before)


def test_autocast_is_off_inside(model, requests):
    plain = ours(model, requests)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(model, requests) == plain


def test_training_goes_on_bit_for_bit(requests):
    """A step behind an evaluation is the step without one."""
    ids = torch.tensor([prompts_of(1, 21)[0]])
    grads = []
    for evaluate in (False, True):
        model = model_of("llama", attention_dropout=0.5)
        torch.manual_seed(3)
        model(input_ids=ids, labels=ids).loss.backward()
        if evaluate:
            ours(model, requests, SAMPLED)
        model(input_ids=ids, labels=ids).loss.backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


def test_slots_stay_for_the_next_run_until_they_are_released(model, requests):
    first = ours(model, requests)
    kept = engine_module._caches[model]
    assert ours(model, requests[:4]) == first[:4]
    assert engine_module._caches[model] is kept  # it fits
    ours(model, [*requests, *requests])
    assert engine_module._caches[model] is not kept  # more slots
    kept = engine_module._caches[model]
    with torch.no_grad():
        model.to(torch.bfloat16)
        ours(model, requests)
    assert engine_module._caches[model] is not kept  # another type
    release(model)
    assert model not in engine_module._caches
    release(model)


def test_without_memory_there_are_fewer_slots_and_nothing_is_lost(model, requests, monkeypatch, caplog):
    plain = ours(model, requests)
    release(model)
    steps, rows = [], ModelRunner.next_logits

    def scarce(self, ids, places, work):
        steps.append(len(ids))
        if len(ids) > 2 and len(steps) > 4:
            raise torch.OutOfMemoryError("not enough")
        return rows(self, ids, places, work)

    monkeypatch.setattr(ModelRunner, "next_logits", scarce)
    assert ours(model, requests) == plain  # each is handed out exactly once
    assert "no memory for 9 answers at once" in caplog.text
    assert "no memory for 4 answers at once" in caplog.text
    assert max(steps[-5:]) <= 2


def test_a_single_slot_that_does_not_fit_is_an_error(model, requests, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("not enough")

    monkeypatch.setattr(ModelRunner, "next_logits", never)
    with pytest.raises(torch.OutOfMemoryError):
        ours(model, requests)
    assert model.config._attn_implementation == "eager"


def test_the_budget_lowers_the_slots(model, requests, monkeypatch, caplog):
    plain = ours(model, requests)
    release(model)
    monkeypatch.setattr(engine_module, "free_bytes", lambda device, held: 20_000)
    assert ours(model, requests, Decoding(slots=8)) == plain
    slots = engine_module._caches[model].slots
    assert 1 <= slots < 8
    assert f"8 answers at once are asked for, the memory here holds {slots}" in caplog.text


def test_an_answer_that_a_text_ends(model, requests):
    free = ours(model, requests, stops=[])
    seen = [answer.ids[1] for answer in free if len(answer.ids) > 1][:2]

    def ends(ids):
        return len(ids) > 1 and ids[-1] in seen

    for every in (1, 5):
        for one, other in zip(ours(model, requests, stops=[], stop_text=ends, every=every), free, strict=True):
            cut = next((n for n in range(1, len(other.ids) + 1) if ends(other.ids[:n])), None)
            expected = (other.ids, "length") if cut is None else (other.ids[:cut], "stop_text")
            assert (one.ids, one.finish_reason) == expected


def test_no_requests_no_answers(model):
    assert ours(model, []) == []


@pytest.mark.parametrize(("ids", "longest"), [([], 3), ([5], 0)])
def test_an_empty_prompt_or_answer_is_refused_before_anything_runs(model, ids, longest):
    with pytest.raises(InputError, match="prompt 1 has"):
        run(model, [Request([5], 0, 1), Request(ids, 0, longest)], [], Decoding(), lambda *_: pytest.fail("too late"))
