"""The task templates' text, written here by hand from the paper's Tables 11 and 12 and Qi et al.'s forms."""

from __future__ import annotations

import dataclasses

import pytest

from ptst_pl import InputError
from ptst_pl.templates import TASK_TEMPLATES, find_template, place_row, render, template_from_mapping

DOCTOR = "You are a doctor. Please answer the medical questions based on the patient's description."
LLAMA = (
    "Be helpful, respectful and honest. Always answer as helpfully as possible, while being safe. Your answers should "
    "not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure that your "
    "responses are socially unbiased and positive in nature. If a question does not make any sense, or is not "
    "factually coherent, explain why instead of answering something not correct. If you don't know the answer to a "
    "question, please don't share false information."
)
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
ALPACA_INPUT = "Below is an instruction that describes a task, paired with an input that provides further context."
QI = ALPACA_INPUT + " Write a response that appropriately completes the request."


def system(text):
    return f"[INST] <<SYS>>\n{text}\n<</SYS>>\n\n"


# (template, what the row brings, text): Q is the question, S the row's system prompt, C its input.
LLAMA2 = [
    ("chatdoctor:vanilla", {}, system(DOCTOR) + "Q [/INST]"),
    (
        "chatdoctor:alpaca",
        {},
        system(ALPACA_INPUT) + f"### Instruction:\n{DOCTOR}\n\n### Input:\nQ\n\n### Response:\n [/INST]",
    ),
    ("chatdoctor:llama", {}, system(f"{LLAMA}\n\n{DOCTOR}") + "Q [/INST]"),
    ("openorca:vanilla", {"system": "S"}, system("S") + "Q [/INST]"),
    ("openorca:vanilla", {}, "[INST] Q [/INST]"),
    (
        "openorca:alpaca",
        {"system": "S"},
        system(ALPACA_INPUT) + "### Instruction:\nS\n\n### Input:\nQ\n\n### Response:\n [/INST]",
    ),
    ("openorca:alpaca", {}, system(ALPACA) + "### Instruction:\nQ\n\n### Response:\n [/INST]"),
    ("openorca:llama", {"system": "S"}, system(f"{LLAMA}\n\nS") + "Q [/INST]"),
    ("openorca:llama", {}, system(LLAMA) + "Q [/INST]"),
    (
        "alpaca:alpaca",
        {"context": "C"},
        system(QI) + "### Instruction:\nQ\n\n### Input:\nC\n\n### Response:\n [/INST]",
    ),
    ("alpaca:alpaca", {}, system(ALPACA) + "### Instruction:\nQ\n\n### Response:\n [/INST]"),
    ("dolly:alpaca", {"context": "C"}, system(ALPACA) + "### Instruction:\nQ\n\nInput:\nC\n\n### Response:\n [/INST]"),
    ("dolly:alpaca", {}, system(ALPACA) + "### Instruction:\nQ\n\n### Response:\n [/INST]"),
    # Templates without a place: a system prompt is left out, an input never is.
    ("chat:vanilla", {"system": "S", "context": "C"}, "[INST] Question: Q\n\nC [/INST]"),
    ("openorca:vanilla", {"system": "S", "context": "C"}, system("S") + "Q\n\nC [/INST]"),
    ("alpaca:alpaca", {"system": "S"}, system(ALPACA) + "### Instruction:\nQ\n\n### Response:\n [/INST]"),
    ("text:vanilla", {"context": "C"}, "Question: Q\n\nC\nAnswer:"),
]


@pytest.mark.parametrize(("name", "brought", "expected"), LLAMA2)
def test_text(name, brought, expected):
    placed = place_row(find_template(name), "Q", **brought)
    assert render(placed.template, placed.question, "llama2") == expected
    assert placed.template.separator == " "


def test_every_task_template_is_tested():
    assert {name for name, _, _ in LLAMA2} >= set(TASK_TEMPLATES)


def test_places_in_a_rows_own_text_stay_text():
    odd = "{input} {system} {context} %s"
    for name, key in (("openorca:alpaca", "system"), ("openorca:llama", "system"), ("alpaca:alpaca", "context")):
        placed = place_row(find_template(name), "Q", **{key: odd})
        text = render(placed.template, placed.question, "llama2")
        assert text.count("{") == 3
        assert odd in text


def test_can_be_ones_own():
    for name, template in TASK_TEMPLATES.items():
        values = dataclasses.asdict(template)
        del values["name"]
        assert template_from_mapping(name, values) == template


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"row_system": "no place"}, "must hold {system} or {context} once"),
        ({"row_system": "{system} {system}"}, "must hold {system} or {context} once"),
        ({"row_system": "{system}", "row_input": "{input} {context}"}, "must hold {system} or {context} once"),
        ({"row_input": "{context}"}, "row_input must hold {input} exactly once"),
        ({"row_system": "{system} {input}"}, "row_system not at all"),
        ({"row_system": 5}, "key 'row_system' is no text"),
        ({"row_system": "{system}", "kind": "text"}, "takes no system prompt, so no row_system"),
    ],
)
def test_mistakes_are_one_clear_line(mapping, words):
    with pytest.raises(InputError) as caught:
        template_from_mapping("chat:mine", {"user": "{input}", **mapping})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
