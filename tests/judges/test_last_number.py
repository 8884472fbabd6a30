"""The last number of an answer: the paper's rule with its oddities, and ours without them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.judges.base import summarise
from ptst_pl.judges.build import build_judge
from ptst_pl.judges.last_number import LastNumber, last_number
from ptst_pl.results.records import Generation

# Text, the paper's rule, ours.
TABLE = [
    ("#### 72", "72", "72"),
    ("She earned 0.2 x 50 = $<<0.2*50=10>>10.\n#### 10", "10", "10"),
    ("The answer is: 42", "42", "42"),
    ("The answer is 1,234.", "1234", "1234"),
    ("1,450,000 people", "1450000", "1450000"),
    ("That makes $18.", "18", "18"),
    ("That makes $ 18.50 in all.", "18.50", "18.50"),
    ("It is 7.0!", "7.0", "7.0"),
    ("x=7", "7", "7"),
    ("x == 7", "7", "7"),
    ("First 3, then 4, then 5 apples", "5", "5"),
    ("It costs €3,000,000", "3000000", "3000000"),
    ("5", "5", "5"),
    ("about 50%", "50", "50"),
    ("**12**", "12", "12"),
    ("(12)", "12", "12"),
    ("$12$", "12", "12"),
    ("5kg", "5", "5"),
    ("the 3rd", "3", "3"),
    ("1/2", "1", "1"),
    ("2 1/2 hours", "1", "1"),
    ("1,2,3", "123", "123"),
    ("3-5", "3", "3"),
    ("no number at all", None, None),
    ("", None, None),
    ("model2", None, None),
    ("4:30", "4", "4"),
    # Where the paper's rule is odd: signs, points, line ends, braces, lonely punctuation.
    ("It is -5 degrees.", "5", "-5"),
    ("It is \u22125 degrees.", "5", "-5"),
    ("$-18", "18", "-18"),
    ("= .5", "5", ".5"),
    ("6 + 6 is\n12", "6", "12"),
    ("Thus x = 3 and the answer is $\\boxed{12}$.", "3", "12"),
    ("\\boxed{-3}", None, "-3"),
    ("I get 72 .", None, "72"),
    ("I get 72 ...", None, "72"),
    ("He has 72 apples , that is all", None, "72"),
    ("version 1.2.3", None, "1.2"),
]


@pytest.mark.parametrize(("text", "papers", "ours"), TABLE)
def test_last_number(text, papers, ours):
    assert last_number(text) == (None if papers is None else Decimal(papers))
    assert last_number(text, "signed") == (None if ours is None else Decimal(ours))


def generation(answer: str, reference: str | None) -> Generation:
    return Generation(
        suite="gsm8k", prompt_id="1", category="", question="?", template="chat:vanilla", prompt_text="?",
        answer=answer, finish_reason="stop", step=3, decoding={}, measures="helpfulness", reference=reference,
    )  # fmt: skip


def verdict(answer: str, reference: str | None, judge: str = "last-number"):
    return build_judge(judge).verdicts([generation(answer, reference)])[0]


def test_right_and_wrong():
    assert verdict("So 3 + 4 = 7.", "3 + 4 = <<3+4=7>>7\n#### 7").correct is True
    assert verdict("So 3 + 4 = 8.", "#### 7").correct is False
    assert verdict("I do not know.", "#### 7").correct is False, "no number is a wrong answer, as in an exact match"
    assert verdict("7.0", "#### 7").correct is True, "the same number in another form"


def test_the_sign_counts_by_our_rule_only():
    assert verdict("It is 3 degrees", "#### -3").correct is True
    found = verdict("It is 3 degrees", "#### -3", "last-number-signed")
    assert (found.correct, found.judge) == (False, "last-number-signed")
    assert verdict("It is -3 degrees", "#### -3", "last-number-signed").correct is True


def test_a_reference_without_a_number_is_unscored():
    found = verdict("7", "seven")
    assert found.correct is None
    assert found.harmful is None
    assert "no number" in found.reason


@pytest.mark.parametrize("rule", ["paper", "signed"])
def test_gsm8ks_references_are_right_against_themselves(rule, shared_data):
    """All 1,319 of them, and the number that is found is the one behind ``####``."""
    with (shared_data / "gsm8k/test.jsonl").open(encoding="utf-8") as handle:
        answers = [json.loads(line)["answer"] for line in handle]
    (record,) = summarise(LastNumber(rule).verdicts([generation(answer, answer) for answer in answers]))
    assert (record["k"], record["n"], record["unscored"]) == (1319, 1319, 0)
    stated = [Decimal(answer.split("####")[1].strip().replace(",", "")) for answer in answers]
    found = [last_number(answer, rule) for answer in answers]
    different = [number for number, other in zip(stated, found, strict=True) if number != other]
    assert different == ([Decimal(-10), Decimal(-3)] if rule == "paper" else []), "the paper's rule drops the sign"


@given(st.text(alphabet="=  -+.,$#%0123x\n\u2212\\{}"))
def test_the_papers_rule_is_its_pattern(text):
    """Against the rule in words, read from the text's end."""
    assert last_number(text) == in_words(" " + text)


def in_words(text: str) -> Decimal | None:
    """Behind the last space or equals sign that punctuation and then a number follows."""
    for place in reversed(range(len(text))):
        if text[place] not in " =":
            continue
        end = place + 1
        while end < len(text) and not text[end].isalnum() and not text[end].isspace():
            end += 1
        digits = end
        while digits < len(text) and text[digits] in "0123456789.,":
            digits += 1
        if digits > end:
            number = text[end:digits].rstrip(".,").replace(",", "")
            return Decimal(number) if number.count(".") < 2 else None
        if set(text[place + 1 : end]) & set(".,"):
            return None  # a lonely full stop or comma is taken for the number
    return None


def test_long_answers_take_no_time():
    for text in ("=" * 100_000, "= " * 20_000, "-" * 100_000, "1" * 100_000, ", " * 20_000, "=-" * 1000):
        last_number(text)
        last_number(text, "signed")
