"""Generation: batching changes nothing, the training state is untouched, the model's own defaults stay out."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from ptst_pl import InputError
from ptst_pl.generation import Decoding, generate, stop_ids
from ptst_pl.model import LoraSettings, add_lora

PAD = 1
PROMPTS = [[0, 5, 9, 33, 12], [0, 40], [0, 17, 17, 2, 60, 61, 30, 8], [0, 22, 23]]
GREEDY = Decoding(max_new_tokens=8, batch_size=4)
SAMPLED = Decoding(max_new_tokens=8, batch_size=4, temperature=1.0)


def ids(answers) -> list[list[int]]:
    return [answer.ids for answer in answers]


def by_hand(model, prompt, steps):
    """Greedy decoding without cache or padding."""
    row = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            row.append(int(model(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
    return row[len(prompt) :]


def test_a_padded_batch_equals_one_prompt_at_a_time(model):
    answers = ids(generate(model, PROMPTS, [], PAD, GREEDY))
    assert answers == [by_hand(model, prompt, 8) for prompt in PROMPTS]
    assert answers == ids(generate(model, PROMPTS, [], PAD, Decoding(max_new_tokens=8, batch_size=1)))
    assert len({tuple(answer) for answer in answers}) == len(PROMPTS)


def test_the_pad_token_does_not_matter(model):
    assert generate(model, PROMPTS, [], PAD, GREEDY) == generate(model, PROMPTS, [], 50, GREEDY)


def test_answers_come_in_the_order_of_the_prompts(model):
    forward = generate(model, PROMPTS, [], PAD, Decoding(max_new_tokens=8, batch_size=2))
    backward = generate(model, PROMPTS[::-1], [], PAD, Decoding(max_new_tokens=8, batch_size=2))
    assert forward == backward[::-1]


def test_an_answer_ends_before_a_stop_token(model):
    free = by_hand(model, PROMPTS[0], 8)
    stop = free[3]
    cut = generate(model, PROMPTS[:1], [stop], PAD, GREEDY)[0]
    assert cut.ids == free[: free.index(stop)]
    assert cut.finish_reason == "stop"
    assert generate(model, PROMPTS[:1], [], PAD, GREEDY)[0].finish_reason == "length"


def test_a_stop_as_the_very_last_token_counts(model):
    free = by_hand(model, PROMPTS[0], 8)
    last = next(k for k in range(1, 8) if free[k] not in free[:k])
    answer = generate(model, PROMPTS[:1], [free[last]], PAD, Decoding(max_new_tokens=last + 1))[0]
    assert (answer.ids, answer.finish_reason) == (free[:last], "stop")


def test_a_row_that_stopped_early_does_not_end_the_others(model):
    alone = [by_hand(model, prompt, 8) for prompt in PROMPTS]
    stop = alone[0][0]
    for answer, free in zip(generate(model, PROMPTS, [stop], PAD, GREEDY), alone, strict=True):
        assert answer.ids == (free[: free.index(stop)] if stop in free else free)


def test_stop_ids_are_the_templates_and_the_models_own(model):
    model.generation_config.eos_token_id = [7, 9]
    assert stop_ids(model, 1) == [1, 7, 9]
    model.generation_config.eos_token_id = 7
    assert stop_ids(model, 7) == [7]
    model.generation_config.eos_token_id = None
    assert stop_ids(model, 1) == [1]


def test_the_models_own_generation_defaults_stay_out(model):
    plain = generate(model, PROMPTS, [], PAD, GREEDY)
    sampled = generate(model, PROMPTS, [], PAD, SAMPLED)
    own = GenerationConfig(
        do_sample=True, temperature=0.1, top_k=1, repetition_penalty=5.0, max_length=3, min_new_tokens=2, num_beams=2
    )
    model.generation_config = own
    assert generate(model, PROMPTS, [], PAD, GREEDY) == plain
    assert generate(model, PROMPTS, [], PAD, SAMPLED) == sampled
    assert model.generation_config is own


def test_sampling_repeats_with_its_seed_and_differs_without(model):
    first = generate(model, PROMPTS, [], PAD, SAMPLED)
    torch.manual_seed(99)  # the surroundings' random state has no part in it
    assert generate(model, PROMPTS, [], PAD, SAMPLED) == first
    other = Decoding(max_new_tokens=8, batch_size=4, temperature=1.0, seed=1)
    assert generate(model, PROMPTS, [], PAD, other) != first


def test_top_k_one_is_greedy(model):
    narrow = Decoding(max_new_tokens=8, batch_size=4, temperature=1.0, top_k=1)
    assert generate(model, PROMPTS, [], PAD, narrow) == generate(model, PROMPTS, [], PAD, GREEDY)


class BoomError(Exception):
    pass


def failing(*_):
    raise BoomError


@pytest.mark.parametrize("backend", ["engine", "hf", "continuous"])
@pytest.mark.parametrize("progress", [lambda done: None, failing], ids=["ends well", "raises"])
def test_training_state_is_as_before(model, progress, backend):
    decoding = replace(GREEDY if backend == "continuous" else SAMPLED, backend=backend)
    model.model.layers[0].eval()  # a mixed state must come back as it was
    modes = {name: module.training for name, module in model.named_modules()}
    own, settings = model.generation_config, model.config.to_dict()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    try:
        generate(model, PROMPTS, [], PAD, decoding, progress)
    except BoomError:
        assert progress is failing
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert model.generation_config is own
    assert model.config.to_dict() == settings
    assert model.config.use_cache is False
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
def test_dropout_is_off_and_adapters_are_on(model):
    plain = generate(model, PROMPTS, [], PAD, GREEDY)
    adapted = add_lora(model, LoraSettings(dropout=0.5)).train()
    assert generate(adapted, PROMPTS, [], PAD, GREEDY) == plain  # a fresh adapter changes nothing
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data)
    changed = generate(adapted, PROMPTS, [], PAD, GREEDY)
    assert changed != plain
    assert generate(adapted, PROMPTS, [], PAD, GREEDY) == changed


def test_progress_counts_every_prompt(model):
    done = []
    generate(model, PROMPTS, [], PAD, Decoding(max_new_tokens=1, batch_size=3), done.append)
    assert sum(done) == len(PROMPTS)


def test_no_prompts_no_answers(model):
    assert generate(model, [], [], PAD, GREEDY) == []


@pytest.mark.parametrize(
    "wrong",
    [{"max_new_tokens": 0}, {"batch_size": 0}, {"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"top_k": -1}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match="decoding"):
        Decoding(**wrong).check()
