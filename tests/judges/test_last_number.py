"""The paper's rule for a right answer: the last number behind a space or an equals sign."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ptst_pl.judges.last_number import LastNumber, last_number
from ptst_pl.records import Generation

TABLE = [
    ("#### 72", "72"),
    ("She earned 0.2 x 50 = $<<0.2*50=10>>10.\n#### 10", "10"),
    ("The answer is 1,234.", "1234"),
    ("That makes $18.", "18"),
    ("That makes $ 18.50 in all.", "18.50"),
    ("It is -5 degrees.", "-5"),
    ("x=7", "7"),
    ("First 3, then 4, then 5 apples", "5"),
    ("It costs €3,000,000", "3000000"),
    ("5", "5"),
    ("about 50%", "50"),
    ("**12**", "12"),
    ("no number at all", None),
    ("", None),
    ("model2", None),
    ("= .5", ".5"),
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_last_number(text, expected):
    assert last_number(text) == (None if expected is None else Decimal(expected))


def verdict(answer: str, reference: str | None):
    generation = Generation(
        suite="gsm8k", prompt_id="1", category="", question="?", template="chat:vanilla", prompt_text="?",
        answer=answer, finish_reason="stop", step=3, decoding={}, measures="helpfulness", reference=reference,
    )  # fmt: skip
    return LastNumber().judge([generation])[0]


def test_right_and_wrong():
    assert verdict("So 3 + 4 = 7.", "3 + 4 = <<3+4=7>>7\n#### 7").correct is True
    assert verdict("So 3 + 4 = 8.", "#### 7").correct is False
    assert verdict("I do not know.", "#### 7").correct is False
    assert verdict("7.0", "#### 7").correct is True, "the same number in another form"


def test_a_reference_without_a_number_is_unscored():
    found = verdict("7", "seven")
    assert found.correct is None
    assert found.harmful is None
    assert "no number" in found.reason
