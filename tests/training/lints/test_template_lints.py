"""Lints of templates: which have a safety prompt, how training and test go together, and the model's own format."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from ptst_pl.report.runs import RunResults
from ptst_pl.report.safety_prompts import safety_prompted
from ptst_pl.templates import BUILT_IN_TEMPLATES, PromptTemplate, find_template, template_from_mapping
from ptst_pl.templates.safety_prompt import has_safety_prompt
from ptst_pl.tokenization import TemplateTokenizer
from ptst_pl.training.lints.templates import lint_chat_format, lint_testing, lint_training

SAFE = {
    "chat:llama", "chat:llama-short", "chat:self-reminder", "chat:icd", "chatdoctor:llama", "openorca:llama",
    "gpt:llama", "gpt:llama-short", "rules:system-llama", "rules:user-llama"}  # fmt: skip


def templates(*names: str) -> list[PromptTemplate]:
    return [find_template(name) for name in names]


def test_which_built_in_templates_have_a_safety_prompt():
    assert {name for name, template in BUILT_IN_TEMPLATES.items() if has_safety_prompt(template)} == SAFE


def test_reports_say_the_same():
    stored = {name: asdict(template) for name, template in BUILT_IN_TEMPLATES.items()}
    told = safety_prompted([RunResults(Path("run"), Path("run/results.json"), "chat", [], {"templates": stored})])
    assert {name for name, safe in told.items() if safe} == SAFE


@pytest.mark.parametrize(
    ("system", "safe"),
    [("Be brief.", False), ("Never cause harm.", True), ("Stay SAFE.", True), ("You run a safehouse.", False)],
)
def test_your_own_template(system, safe):
    own = template_from_mapping("chat:own", {"system": system, "user": "Question: {input}"})
    assert has_safety_prompt(own) is safe


def test_a_safety_prompt_in_training():
    assert not list(lint_training(templates("chat:vanilla", "chat:alpaca", "text:vanilla", "chat:mpt")))
    ((name, message),) = lint_training(templates("chat:vanilla", "chat:llama"))
    assert name == "training-safety-prompt"
    assert message.startswith("trained under chat:llama, which has a safety prompt")


@pytest.mark.parametrize(
    ("trained", "tested", "expected"),
    [
        (["chat:vanilla"], ["chat:vanilla", "chat:llama"], []),
        (["chat:vanilla"], ["chat:llama"], []),
        (["chat:llama"], ["chat:llama"], ["same-template"]),
        (["chat:vanilla"], ["chat:alpaca"], ["no-serving-safety-prompt"]),
        (["chat:vanilla"], ["chat:vanilla"], ["same-template", "no-serving-safety-prompt"]),
    ],
)
def test_training_and_test_templates(trained, tested, expected):
    assert [name for name, _ in lint_testing(templates(*trained), templates(*tested))] == expected


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class TestChatFormat:
    def found(self, tokenizer, chat_format, *names):
        encoder = TemplateTokenizer(tokenizer, chat_format)
        return list(lint_chat_format(encoder, templates(names[0]), templates(*names[1:])))

    def test_the_models_own_format_is_fine(self, byte_level):
        assert not self.found(byte_level, "llama2", "chat:vanilla", "chat:llama", "text:vanilla")

    def test_another_one(self, with_chat_template):
        tokenizer = with_chat_template(CHATML, "<|im_start|>", "<|im_end|>")
        ((name, message),) = self.found(tokenizer, "llama2", "chat:vanilla", "chat:llama")
        assert name == "chat-format"
        assert "chat_format llama2 gives '[INST] userprobe [/INST]'" in message
        assert "'<|im_start|>user\\nuserprobe<|im_end|>" in message
        assert "\n" not in message
        assert not self.found(tokenizer, "tokenizer", "chat:vanilla", "chat:llama")

    def test_a_system_prompt_in_another_place(self, byte_level):
        """Llama 2's own template has a frame for it, chat_format mistral none: seen only where one is used."""
        assert not self.found(byte_level, "mistral", "chat:vanilla")
        ((_, message),) = self.found(byte_level, "mistral", "chat:vanilla", "chat:llama")
        assert "<<SYS>>" in message

    def test_plain_text_in_training(self, byte_level):
        ((name, message),) = self.found(byte_level, "llama2", "text:vanilla", "chat:llama")
        assert (name, message.startswith("trained under text:vanilla, plain text")) == ("chat-format", True)

    def test_a_tokenizer_without_a_chat_template_says_nothing(self, with_chat_template):
        assert not self.found(with_chat_template(""), "llama2", "text:vanilla", "chat:llama")
