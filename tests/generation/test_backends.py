"""What generates: one text whatever it is, a choice that is said aloud, and answers that know nothing of each other."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ptst_pl import InputError
from ptst_pl.generation import Decoding, choose, generate
from ptst_pl.generation.request import seed_of
from ptst_pl.model import LoraSettings, add_lora

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
PAD = 1
PROMPTS = [[0, 5, 9, 33, 12], [0, 40], [0, 17, 17, 2, 60, 61, 30, 8], [0, 22, 23], [0, 5, 9, 33, 50], [0] * 20]
LOCAL = ["engine", "hf", "continuous"]
GREEDY = Decoding(max_new_tokens=12, batch_size=4)
SAMPLED = Decoding(max_new_tokens=12, batch_size=4, temperature=0.9, top_p=0.95, top_k=40)


def by(backend: str, decoding: Decoding = GREEDY, **changes) -> Decoding:
    return replace(decoding, backend=backend, **changes)


@pytest.fixture
def falcon():
    settings = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("falcon", **settings, bos_token_id=0, eos_token_id=1))


@pytest.mark.parametrize("backend", LOCAL[1:])
def test_every_backend_gives_the_same_answers(model, backend):
    stop = generate(model, PROMPTS, [], PAD, by("hf"))[0].ids[5]
    for adapted in (False, True):
        if adapted:
            model = add_lora(model, LoraSettings(dropout=0.5)).train()
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter.data)
        expected = generate(model, PROMPTS, [stop], PAD, by("engine"))
        assert generate(model, PROMPTS, [stop], PAD, by(backend)) == expected
        assert adapted or {answer.finish_reason for answer in expected} == {"stop", "length"}
    assert generate(model, PROMPTS, [stop], PAD, by("auto")) == expected


@pytest.mark.parametrize("backend", LOCAL)
def test_a_stop_text_ends_an_answer_under_every_backend(model, backend):
    def decode(ids):
        return "".join(f"<{i}>" for i in ids)

    free = generate(model, PROMPTS, [], PAD, by("hf"))
    stop = decode(free[2].ids)[4:9]  # crosses the border between two tokens
    stopped = generate(model, PROMPTS, [], PAD, by(backend, stop=[stop]), decode=decode)
    for one, other in zip(free, stopped, strict=True):
        text = decode(one.ids)
        if stop in text:
            assert other.finish_reason == "stop_text"
            assert stop in decode(other.ids)
            assert stop not in decode(other.ids[:-1])
            assert one.ids[: len(other.ids)] == other.ids
        else:
            assert one == other
    assert Counter(answer.finish_reason for answer in stopped)["stop_text"] >= 1


@pytest.mark.parametrize("backend", LOCAL[:2])
def test_a_sampled_answer_depends_on_its_prompt_seed_and_number_alone(model, backend):
    alone = [generate(model, [prompt], [], PAD, by(backend, SAMPLED))[0] for prompt in PROMPTS]
    for changes in ({}, {"batch_size": 1}, {"batch_size": 64}, {"slots": 2}):
        assert generate(model, PROMPTS, [], PAD, by(backend, SAMPLED, **changes)) == alone
    assert generate(model, PROMPTS[::-1], [], PAD, by(backend, SAMPLED)) == alone[::-1]
    known = {0: alone[0], 3: alone[3]}
    assert generate(model, PROMPTS, [], PAD, by(backend, SAMPLED), known=known) == alone
    twice = generate(model, [PROMPTS[0]] * 3, [], PAD, by(backend, SAMPLED), samples=[0, 1, 0])
    assert twice[0] == twice[2] == alone[0]
    assert twice[1] != twice[0]
    assert generate(model, PROMPTS, [], PAD, by(backend, SAMPLED, seed=7)) != alone


def test_sampled_answers_are_the_same_under_engine_and_hf(model):
    for settings in (SAMPLED, Decoding(max_new_tokens=12, temperature=1.3), replace(SAMPLED, top_k=2, top_p=0.6)):
        ours = generate(model, PROMPTS, [], PAD, by("engine", settings))
        assert ours == generate(model, PROMPTS, [], PAD, by("hf", settings))
        assert ours != generate(model, PROMPTS, [], PAD, by("hf"))


def test_seeds_of_different_answers_differ():
    seeds = {seed_of(s, p, n) for s in (1, 2) for p in ([1, 2], [12], [1, 2, 0], []) for n in (0, 1)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, [1, 2], 0) == seed_of(1, (1, 2), 0)


@pytest.mark.parametrize("backend", LOCAL)
def test_progress_and_what_is_kept(model, backend):
    """Every answer is counted once and kept once; what is known is counted, and not made again."""
    kept, done, made = [], [], []
    answers = generate(model, PROMPTS, [], PAD, by(backend), done.append, {1: model}, kept.append, made=made.append)
    if backend == "hf":  # a batch is made whole, so that its answers are those of a run without a break
        assert answers[1] is not model
    else:
        assert answers[1] is model
        assert [1 in part for part in kept] == [False] * len(kept)
    assert sum(done) == len(PROMPTS)
    together = Counter(index for part in kept for index in part)
    assert set(together.values()) == {1}
    assert set(together) | {1} == set(range(len(PROMPTS)))
    assert sum(made) == sum(len(answers[index].ids) for index in together)


def test_a_kill_costs_a_batch_at_most(model):
    class KilledError(Exception):
        pass

    kept: dict[int, object] = {}
    done: list[int] = []

    def count(finished):
        done.append(finished)
        if len(done) == 4:
            raise KilledError

    with pytest.raises(KilledError):
        generate(model, PROMPTS, [], PAD, by("engine", batch_size=2), count, keep=kept.update)
    assert len(kept) >= 4


def test_the_choice_is_made_once_and_said(model, falcon, caplog):
    with caplog.at_level(logging.INFO, logger="ptst_pl.generation.backend"):
        assert [choose(model, "auto", longest) for longest in (10, 20, 5)] == ["engine"] * 3
        assert [choose(falcon, "auto", longest) for longest in (10, 20)] == ["hf"] * 2
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("generation: engine for")
    assert "generation: hf for" in caplog.messages[1]
    assert "the engine does not serve this model: model type 'falcon'" in caplog.messages[1]
    assert generate(falcon, PROMPTS, [], PAD, GREEDY) == generate(falcon, PROMPTS, [], PAD, by("hf"))


def test_a_backend_that_cannot_serve_is_one_line(model, falcon):
    with pytest.raises(
        InputError, match=r"^decoding\.backend is 'engine', but model type 'falcon' .*; use auto or hf$"
    ):
        generate(falcon, PROMPTS, [], PAD, by("engine"))
    with pytest.raises(InputError, match=r"^decoding\.backend is 'continuous', .*'falcon'.*; use auto or hf$"):
        generate(falcon, PROMPTS, [], PAD, by("continuous"))
    with pytest.raises(InputError, match=r"^decoding\.backend is 'endpoint', .*--endpoint\.model NAME"):
        generate(model, PROMPTS, [], PAD, by("endpoint"))
    with pytest.raises(InputError, match=r"'continuous' with a temperature above 0: .*use auto, engine or hf"):
        generate(model, PROMPTS, [], PAD, by("continuous", SAMPLED))


@pytest.mark.parametrize("backend", ["auto", *LOCAL])
def test_a_model_that_has_lost_its_numbers_is_not_evaluated(model, backend):
    """Its answers would be nonsense, which judges count as harmless."""
    model.model.layers[1].mlp.down_proj.weight.data[3, 5] = float("nan")
    with pytest.raises(InputError, match="its logits are NaN"):
        generate(model, PROMPTS, [1], PAD, by(backend))
    assert model.training


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, "samples and slots must be at least 1"),
        ({"slots": 0}, "samples and slots must be at least 1"),
        ({"samples": 3}, "samples is 3 with temperature 0"),
        ({"stop": ["x", ""]}, "stop holds an empty text"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Decoding(**wrong).check()
