"""Every family's chat template: ids as transformers makes them, one end token, no invented words, thoughts off."""

from __future__ import annotations

import own_styles as styles
import pytest
from family_tokenizers import PUBLIC, TURNS, Family, family_tokenizer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.templates import PAPER_TEMPLATES, to_messages
from ptst_pl.tokenization import IGNORED, ChatOptions, Example, TemplateTokenizer

FIXED = {"enable_thinking": False, "date_string": "26 Jul 2024"}
QUESTION, ANSWER = "Where is the mayor's hat?", "It is 4."
WITHOUT_SYSTEM, WITH_SYSTEM, ICD = "chat:vanilla", "chat:llama-short", "chat:icd"
INVENTS = {"Qwen2-VL-7B-Instruct", "Qwen2.5-VL-7B-Instruct", "Qwen3-VL-4B-Instruct"}  # an empty system turn stops it
INSISTS = {"llama-3-instruct"}  # on a system prompt of its own
NO_TEXT = {"SmolVLM2-256M-Video-Instruct"}  # wants a list of parts

QWEN3 = Family(styles.THINKS, ("<|im_start|>", "<|im_end|>"), "<|im_end|>", None, "<|im_end|>", ("<think>", "</think>"))
OWN = {
    "qwen3": QWEN3,
    "always-thinks": QWEN3._replace(source=styles.ALWAYS_THINKS),
    "strict": Family(styles.STRICT, TURNS, "<end_of_turn>", "<bos>", "<eos>", ("\n\n", "\n")),
    "headers": Family(styles.HEADERS, ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), "<|end_of_text|>"),
    "dated": Family(styles.DATED, ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
    "channels": Family(
        styles.CHANNELS, ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"), "<|return|>", None
    ),
    "blank-lines": Family(styles.BLANK_LINES, (), "</s>", plain=("\n\n", "\n\n\n")),
}  # fmt: skip


def encoder_of(family: Family) -> TemplateTokenizer:
    return TemplateTokenizer(family_tokenizer(family), "tokenizer")


def special_ids(encoder: TemplateTokenizer) -> set[int]:
    return {i for i, token in encoder.tokenizer.added_tokens_decoder.items() if token.special}


def expected_messages(name: str, template: str) -> list[dict[str, str]]:
    messages = to_messages(PAPER_TEMPLATES[template], QUESTION)
    if template == WITHOUT_SYSTEM and name in INVENTS:
        return [{"role": "system", "content": ""}, *messages]
    if template == WITH_SYSTEM and name == "strict":
        system, user = (message["content"] for message in messages)
        return [{"role": "user", "content": f"{system}\n\n{user}"}]
    return messages


def expected_ids(encoder: TemplateTokenizer, name: str, template: str) -> list[int]:
    messages = expected_messages(name, template)
    source = encoder.tokenizer.chat_template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    encoded = encoder.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, chat_template=source, **FIXED
    )
    opened = "<|channel|>final<|message|>" if name == "channels" else ""
    return encoded["input_ids"] + encoder.tokenizer(opened, add_special_tokens=False)["input_ids"]


def check(encoder: TemplateTokenizer, name: str, family: Family, template: str) -> None:
    chosen = PAPER_TEMPLATES[template]
    row = encoder.encode(Example(QUESTION, ANSWER), chosen)
    prompt = expected_ids(encoder, name, template)
    assert encoder.encode_prompt(chosen, QUESTION) == prompt, name
    assert row.input_ids[: row.prompt_length] == prompt, name
    supervised = [label for label in row.labels if label != IGNORED]
    end = encoder.tokenizer.convert_tokens_to_ids(family.end)
    specials = special_ids(encoder)
    assert encoder.end_id(chosen) == end, name
    assert [label for label in supervised if label in specials] == [end], name
    assert supervised[-1] == end
    said = encoder.tokenizer.decode(supervised[:-1])
    assert said.endswith(ANSWER)
    assert said.removesuffix(ANSWER) in ("", " ", "\n</think>\n\n"), name


@pytest.mark.parametrize("name", PUBLIC)
def test_public_templates(families, name):
    family = families[name]
    encoder = encoder_of(family)
    for template in (WITHOUT_SYSTEM, WITH_SYSTEM, ICD):
        if name in NO_TEXT or (name in INSISTS and template != WITH_SYSTEM):
            with pytest.raises(InputError, match=r"default system prompt of its own|leaves the user's text out"):
                encoder.encode_prompt(PAPER_TEMPLATES[template], QUESTION)
        elif not (name in INVENTS and template == ICD):
            check(encoder, name, family, template)


def test_every_public_template_is_here(families):
    assert families.keys() == PUBLIC.keys()


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("template", [WITHOUT_SYSTEM, WITH_SYSTEM, ICD])
def test_other_styles(name, template):
    check(encoder_of(OWN[name]), name, OWN[name], template)


words = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
pieces = st.one_of(words, st.sampled_from(["<think>", "</think>", "<|im_end|>", "<end_of_turn>", "\n\n", " ", "</s>"]))


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(question=st.lists(pieces, max_size=4).map("".join), answer=st.lists(pieces, max_size=4).map("".join))
@example(question="", answer="")
@example(question="<|im_end|>", answer="<|channel|>final<|message|><|return|></s>")
@pytest.mark.parametrize("name", OWN)
def test_any_text_has_one_end_and_the_same_prompt(name, question, answer):
    encoder, template = encoder_of(OWN[name]), PAPER_TEMPLATES[WITH_SYSTEM]
    row = encoder.encode(Example(question, answer), template)
    prompt = encoder.encode_prompt(template, question)
    specials = special_ids(encoder)
    assert row.input_ids[: row.prompt_length] == prompt
    assert [i for i in row.labels if i in specials] == [encoder.end_id(template)]
    harmless = encoder.encode_prompt(template, QUESTION)
    assert [i for i in prompt if i in specials] == [i for i in harmless if i in specials]


class TestThinking:
    """What is trained and what generation is given agree, and no thought is trained."""

    def text(self, name, template=WITHOUT_SYSTEM):
        encoder = encoder_of(OWN[name])
        row = encoder.encode(Example(QUESTION, ANSWER), PAPER_TEMPLATES[template])
        cut = row.prompt_length
        return encoder.tokenizer.decode(row.input_ids[:cut]), encoder.tokenizer.decode(row.input_ids[cut:])

    def test_an_empty_block_is_the_prompts_where_thinking_can_be_switched_off(self):
        prompt, answer = self.text("qwen3")
        assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
        assert answer == f"{ANSWER}<|im_end|>"

    def test_an_opened_block_is_closed_by_the_answer(self):
        prompt, answer = self.text("always-thinks")
        assert prompt.endswith("<think>\n")
        assert answer == f"\n</think>\n\n{ANSWER}<|im_end|>"

    def test_a_block_that_answers_leave_out_is_closed_in_the_prompt(self):
        encoder = encoder_of(Family(styles.DROPS_THOUGHT, (), "</s>"))
        prompt = encoder.tokenizer.decode(encoder.encode_prompt(PAPER_TEMPLATES["chat"], QUESTION))
        assert prompt.endswith("</think>\n\n")
        row = encoder.encode(Example(QUESTION, ANSWER), PAPER_TEMPLATES["chat"])
        assert encoder.tokenizer.decode(row.input_ids) == f"{prompt}{ANSWER}</s>"

    def test_left_open_is_what_a_template_does_that_closes_its_own_block(self):
        tokenizer = encoder_of(OWN["always-thinks"]).tokenizer
        rows = [
            TemplateTokenizer(tokenizer, "tokenizer", ChatOptions(thinking=way)).encode(
                Example(QUESTION, ANSWER), PAPER_TEMPLATES["chat"]
            )
            for way in ("closed", "open")
        ]
        assert rows[0] == rows[1]

    def test_thoughts_in_training_answers_are_kept_as_the_tokens_they_are(self):
        encoder = encoder_of(QWEN3)
        row = encoder.encode(Example(QUESTION, f"<think>So.</think>{ANSWER}"), PAPER_TEMPLATES["chat"])
        ids = encoder.tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
        assert [label for label in row.labels if label in ids] == ids


def test_a_channel_belongs_to_the_prompt():
    encoder = encoder_of(OWN["channels"])
    rendered = encoder.render(PAPER_TEMPLATES["chat"], QUESTION)
    assert rendered.prompt_text.endswith("<|start|>assistant<|channel|>final<|message|>")
    assert rendered.separator == ""


def test_a_template_that_wants_a_system_turn(byte_level):
    family = Family(styles.WANTS_SYSTEM, ("<|im_start|>", "<|im_end|>"), "<|im_end|>")
    check(encoder_of(family), "wants-system", family, WITH_SYSTEM)
    prompt = encoder_of(family).render(PAPER_TEMPLATES["chat"], "2 + 2?").prompt_text
    assert prompt.startswith("<|im_start|>system\n<|im_end|><|im_start|>user\n2 + 2?")
    strict = family._replace(
        source=styles.WANTS_SYSTEM.replace("!= 'system'", "!= 'system' or not messages[0]['content']")
    )
    with pytest.raises(InputError, match="wants a system prompt"):
        encoder_of(strict).encode_prompt(PAPER_TEMPLATES["chat"], QUESTION)


def test_the_date_is_the_same_tomorrow():
    prompt = encoder_of(OWN["dated"]).render(PAPER_TEMPLATES["chat"], "2 + 2?").prompt_text
    assert prompt.startswith("<s><|system|>Today Date: 26 Jul 2024\n<|end|>")
