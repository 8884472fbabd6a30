"""The exported tokenizer and the card's lines give the run's ids under every template and chat format."""

from __future__ import annotations

import copy
import re

import pytest

from ptst_pl.generation import Decoding
from ptst_pl.ship.export.serving_code import QUESTIONS, generation_config, give_chat_template, prompting
from ptst_pl.templates import PAPER_TEMPLATES, PromptTemplate
from ptst_pl.tokenization import TemplateTokenizer, save_tokenizer

OWN = {"braces": PromptTemplate("braces", "chat", "{input}\n'{x}' \"\\n\" {{ y }}", system="Say 'é' {% if %}\n🙂")}


@pytest.mark.parametrize("chat_format", ["llama2", "mistral", "tokenizer"])
def test_the_cards_lines_give_the_runs_ids(any_tokenizer, tmp_path, chat_format):
    encoder = TemplateTokenizer(copy.deepcopy(any_tokenizer), chat_format)
    give_chat_template(encoder)
    saved = save_tokenizer(encoder.tokenizer, tmp_path)
    by_messages = set()
    for name, template in (PAPER_TEMPLATES | OWN).items():
        found = prompting(encoder, template, saved)
        assert found.exact, name
        by_messages |= {name} if found.messages else set()
        for question in QUESTIONS:
            names = {"tokenizer": saved, "question": question}
            exec(found.code, names)
            assert names["inputs"]["input_ids"].tolist() == [encoder.encode_prompt(template, question)], name
    # The paper's self-reminder has no space before [/INST], which no chat template knows of.
    spaced = {name for name, t in (PAPER_TEMPLATES | OWN).items() if t.kind == "chat" and t.before_close}
    assert by_messages >= spaced


def test_switches_are_handed_on_where_the_template_reads_them(with_chat_template):
    source = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% if not enable_thinking is false %}<think>{% endif %}{% endif %}"
    )
    encoder = TemplateTokenizer(with_chat_template(source), "tokenizer")
    found = prompting(encoder, PAPER_TEMPLATES["chat:llama"], encoder.tokenizer)
    assert found.exact
    assert "enable_thinking=False" in found.code
    assert not re.search(r"\bthinking=", found.code)


def test_a_way_that_is_not_exact_is_said_to_be_so(byte_level):
    encoder = TemplateTokenizer(copy.deepcopy(byte_level), "llama2")
    encoder.encode_prompt = lambda template, question: [1, 2, 3]
    assert not prompting(encoder, PAPER_TEMPLATES["chat:llama"], encoder.tokenizer).exact


def test_the_measured_decoding_is_the_default():
    greedy = generation_config(Decoding(), [1, 5], 0)
    assert (greedy.do_sample, greedy.eos_token_id, greedy.max_new_tokens) == (False, [1, 5], 512)
    sampled = generation_config(Decoding(temperature=0.7, top_p=0.9), [1], 0)
    assert (sampled.do_sample, sampled.temperature, sampled.top_p) == (True, 0.7, 0.9)
