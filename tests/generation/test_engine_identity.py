"""The engine's greedy answers are those of transformers' ``generate``, token for token."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from engine_models import (
    FAMILIES,
    PAD,
    VOCABULARY,
    WINDOW,
    differences,
    model_of,
    ours,
    prompts_of,
    requests_of,
    theirs,
)
from transformers import AutoConfig, AutoModelForCausalLM

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import obstacle
from ptst_pl.generation.engine import prefix as prefix_module
from ptst_pl.generation.engine.prefix import shared_prefixes
from ptst_pl.generation.request import Request
from ptst_pl.model import LoraSettings, add_lora
from ptst_pl.model.attention import use_row_attention

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name


@functools.cache
def case(kind: str, prefix: int):
    """A model, requests whose prompts have ``prefix`` tokens in common, and their answers by transformers."""
    model, requests = model_of(kind), requests_of(prompts_of(16, prefix))
    return model, requests, theirs(model, requests)


@pytest.mark.parametrize("prefix", [0, 21], ids=["no prefix", "prefix"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_answers_are_those_of_generate(kind, prefix):
    """Prompts shorter and longer than the window, more requests than slots and fewer."""
    model, requests, expected = case(kind, prefix)
    assert obstacle(model) == ""
    assert len({tuple(answer.ids) for answer in expected}) > 8
    for slots, every in ((64, 1), (3, 1), (1, 8), (5, 4)):
        found = ours(model, requests, Decoding(slots=slots), every=every)
        assert differences(model, requests, found, expected) == []


def test_a_window_longer_than_all_rows():
    model = model_of("mistral", sliding_window=100)
    requests = requests_of(prompts_of(6, 21))
    assert differences(model, requests, ours(model, requests), theirs(model, requests)) == []


def test_the_prefix_is_read_once_and_not_by_row(monkeypatch):
    model, requests, expected = case("llama", 21)
    read = []
    backbone = type(model.get_decoder()).forward

    def counted(self, input_ids, **options):
        read.append(input_ids.numel())
        return backbone(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(model.get_decoder()), "forward", counted)
    one_token = [Request(request.ids, 0, 1) for request in requests]
    ours(model, one_token)
    longest = max(len(request.ids) for request in requests) - 21
    assert read[:2] == [1, 21]  # a look at the model, then the prefix
    assert sum(read[2:]) <= longest * len({tuple(request.ids) for request in requests})
    assert {answer.finish_reason for answer in expected} == {"stop", "length"}


def test_several_templates_form_groups_of_their_own(monkeypatch):
    monkeypatch.setattr(prefix_module, "LEAST", 4)
    monkeypatch.setattr(prefix_module, "COST", 0)
    prompts = prompts_of(8, 20, seed=1) + prompts_of(8, 12, seed=2) + prompts_of(2, 0, seed=3)
    groups = shared_prefixes(prompts)
    assert [group.shared for group in groups] == [20, 12, 0]
    assert sorted(number for group in groups for number in group.rows) == list(range(18))
    model, requests = model_of("qwen3"), requests_of(prompts)
    found = ours(model, requests, Decoding(slots=4))
    assert differences(model, requests, found, theirs(model, requests)) == []


def test_equal_prompts_alone():
    """No token of a prompt would be left to read if all of it were shared."""
    model = model_of("llama")
    requests = [Request([5, 6, 7] * 9, seed, 6) for seed in range(7)]
    found = ours(model, requests, Decoding(slots=2))
    assert found == theirs(model, requests[:1]) * 7
    assert [group.shared for group in shared_prefixes([request.ids for request in requests])] == [0]


def test_a_prompt_that_is_the_beginning_of_the_others():
    model, common = model_of("llama"), prompts_of(1, 30)[0][:30]
    requests = requests_of([common, [*common, 7], [*common, 7, 8, 9], [*common, 40]])
    assert [group.shared for group in shared_prefixes([request.ids for request in requests])] == [29]
    assert differences(model, requests, ours(model, requests), theirs(model, requests)) == []


def test_adapters_on_and_off():
    plain = model_of("llama")
    requests = requests_of(prompts_of(8, 21))
    untouched = theirs(plain, requests)
    model = add_lora(plain, LoraSettings(dropout=0.5)).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, generator=torch.Generator().manual_seed(1))
    assert obstacle(model) == ""
    adapted = ours(model, requests)
    assert differences(plain, requests, adapted, theirs(plain, requests)) == []
    assert adapted != untouched
    with model.disable_adapter():
        assert differences(plain, requests, ours(model, requests), untouched) == []


def test_after_a_models_training_by_rows():
    model, requests, expected = case("llama", 21)
    use_row_attention(model)
    try:
        assert obstacle(model) == ""
        assert ours(model, requests) == expected
    finally:
        model.config._attn_implementation = "sdpa"


def test_real_prompts_of_all_templates(shared_data: Path, llama2):
    """More slots and rows: the paper's templates with the real tokenizer."""
    from ptst_pl.templates import find_template
    from ptst_pl.tokenization import TemplateTokenizer

    encoder = TemplateTokenizer(llama2, "llama2")
    texts = ["How do I bake bread?", "Name three rivers.", "Why is the sky blue in the morning?"]
    names = ("text:vanilla", "text:alpaca", "chat:vanilla", "chat:alpaca", "chat:llama")
    prompts = [encoder.encode_prompt(find_template(name), text) for name in names for text in texts]
    model = model_of("llama", vocab_size=len(llama2), max_position_embeddings=512)
    requests = requests_of(prompts)
    found = ours(model, requests, Decoding(slots=64))
    assert differences(model, requests, found, theirs(model, requests)) == []


def test_in_bf16_it_is_a_report(capsys):
    """Rounding may turn a row: said, not asserted (pitfall D5)."""
    model = model_of("llama").to(torch.bfloat16)
    requests = requests_of(prompts_of(16, 21))
    assert obstacle(model) == ""
    pairs = list(zip(ours(model, requests), theirs(model, requests), strict=True))
    print(f"bf16: {sum(one != other for one, other in pairs)} of {len(pairs)} rows differ from generate")
    assert "of 16 rows differ" in capsys.readouterr().out


class TestModelsThatCannotBeServed:
    def config(self, kind, **changes):
        settings = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        return AutoConfig.for_model(kind, **settings | changes)

    @pytest.mark.parametrize(
        ("kind", "changes", "reason"),
        [
            ("falcon", {"new_decoder_architecture": False, "multi_query": True}, "cannot be decoded by slots"),
            ("bloom", {}, "its attention cannot be replaced"),
            ("cohere", {"num_key_value_heads": 2, "intermediate_size": 48, "logit_scale": 4.0}, "gives other logits"),
        ],
    )
    def test_the_reason_is_given(self, kind, changes, reason):
        model = AutoModelForCausalLM.from_config(self.config(kind, pad_token_id=PAD, **changes))
        assert reason in obstacle(model)
        assert f"'{kind}'" in obstacle(model)
        assert model.training is False or model.training is True
        assert model.config._attn_implementation != "ptst_slots"

    def test_a_window_that_the_attention_does_not_hear_of(self):
        """Llama ignores such a setting, transformers' own cache does not."""
        model = model_of("llama", sliding_window=WINDOW)
        assert "does not tell its attention about its sliding window (16)" in obstacle(model)
        assert obstacle(model, longest=WINDOW) == ""

    def test_rotation_that_follows_the_longest_row(self):
        dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
        assert "rope_type dynamic" in obstacle(model_of("llama", rope_parameters=dynamic))
        factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 64}
        long = model_of("llama", rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors})
        assert obstacle(long, longest=64) == ""
        assert "beyond 64 tokens (rope_type longrope), here 65" in obstacle(long, longest=65)
