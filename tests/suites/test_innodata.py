"""Innodata's sets from ten rows of our own in their form: metric, turns that are given, the canned answer beside."""

from __future__ import annotations

import json

import pytest

from ptst_pl import InputError
from ptst_pl.evaluation.cells import prepare
from ptst_pl.judges import InnodataJudge
from ptst_pl.results.records import Generation
from ptst_pl.suites import load_suite, suite_spec
from ptst_pl.suites.innodata import SUITES
from ptst_pl.suites.overlap_score import best_overlap, rouge_2
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer

ROWS = [
    {"id": f"r{n}", "messages": [{"role": "user", "content": f"Is text {n} true to its source? Answer yes or no."}],
     "expected": "yes" if n < 6 else ["no", "No, it is not true to its source"]}
    for n in range(9)
] + [
    {"id": "r9", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a fruit."},
        {"role": "assistant", "content": "Pear."}, {"role": "user", "content": "And another one?"}],
     "expected": ["apple"]}
]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "factcc.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def suite(path):
    return load_suite(suite_spec({"name": "innodata-factcc", "path": str(path)}))


def scores(path, answer):
    prompts = suite(path).prompts
    records = [
        Generation("s", p.id, "", p.text, "chat", "", answer(p), "stop", 0, {}, "helpfulness", p.reference)
        for p in prompts
    ]
    return [verdict.score for verdict in InnodataJudge().verdicts(records)]


def test_perfect_answers_score_one_and_a_canned_one_its_constant(file, caplog):
    assert scores(file, lambda prompt: json.loads(prompt.reference)[-1]) == [1.0] * 10
    canned = scores(file, lambda prompt: "Yes.")
    assert sum(canned) / 10 == pytest.approx(0.6)
    assert "a model that always says 'yes' has a score of 0.600 here" in suite(file).notes[0]
    assert "always says 'yes'" in caplog.text


def test_the_score_ignores_case_and_punctuation_and_takes_the_best_reference():
    assert best_overlap("NO! Because it adds a name.", ["no", "something else"]) == 1.0
    assert best_overlap("nothing of the kind", ["no"]) == 0.0
    assert rouge_2("the red hat is here", "a red hat is there") == pytest.approx(0.5)
    assert best_overlap("the red hat is here", ["a red hat is there", "x y"]) == pytest.approx(0.5)
    assert best_overlap("", ["no"]) == 0.0


def test_earlier_turns_are_given_and_stand_in_the_prompt(file, byte_level):
    found = suite(file)
    assert found.prompts[9].turns == (("Name a fruit.", "Pear."),)
    encoder = TemplateTokenizer(byte_level, "llama2")
    cell = prepare(encoder, found, find_template("rules:system"))
    assert "Be brief." in cell.texts[9]
    assert "Pear." in cell.texts[9]
    assert cell.texts[9].rstrip().endswith("And another one? [/INST]")
    assert cell.ids[0] == encoder.encode_prompt(find_template("rules:system"), found.prompts[0].text)
    with pytest.raises(InputError, match="plain text and cannot hold"):
        prepare(encoder, found, find_template("text:vanilla"))


def test_fourteen_sets_and_no_more_than_250_rows_each(tmp_path):
    assert len(SUITES) == 14
    assert sum(gated for _, gated in SUITES.values()) == 3
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({**ROWS[0], "id": str(n)}) + "\n" for n in range(300)))
    assert [prompt.id for prompt in suite(path).prompts] == [str(n) for n in range(250)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": []}, "key 'messages' is missing or no list of messages"),
        ({"messages": [{"role": "user", "content": "a"}]}, "key 'expected' is None"),
        ({"messages": [{"role": "assistant", "content": "a"}], "expected": "b"}, "expected user and assistant in turn"),
    ],
)
def test_rows_of_another_form_are_one_line(tmp_path, row, expected):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError) as error:
        suite(path)
    assert expected in str(error.value)
    assert "row 1" in str(error.value)
