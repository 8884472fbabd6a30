"""Which option of an ARC question an answer chooses: by the paper's rule, and by ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.judges.arc import ArcJudge, chosen_option
from ptst_pl.judges.base import summarise
from ptst_pl.judges.build import build_judge
from ptst_pl.results.records import Generation
from ptst_pl.suites.arc import LETTERS, arc_prompt, arc_row, options_of

HATS = {"A": "a straw hat", "B": "wool", "C": "1.5 m", "D": "the baker's cap"}

# Answer, our reading, the paper's.
TABLE = [
    ("B", "B", None),
    ("(B)", "B", None),
    ("B.", "B", None),
    ("b", "B", None),
    ("**B**", "B", None),
    ("B) wool", "B", None),
    ("B. Wool keeps warm.", "B", None),
    ("B because it keeps warm", "B", None),
    ("D\n\nThe cap is his.", "D", None),
    ("wool", "B", None),
    ("Wool. It keeps warm.", "B", None),
    ("The answer is: B", "B", "B"),
    ("The answer is: (B).", "B", "B"),
    ("The answer is:B", "B", "B"),
    ("The answer is: a", "A", "A"),
    ("The answer is: Wool!", "B", "B"),
    ("The answer is: A straw hat", "A", "A"),
    ("It must be A.\nThe answer is: D", "D", "D"),
    ("The answer is: A. No, wait. The answer is: B.", "B", "B"),
    ("The answer is: {your_answer}. So: The answer is: C", "C", "C"),
    ("The answer is B", "B", None),
    ("the correct answer is (b).", "B", None),
    ("The best option is **D: the baker's cap**", "D", None),
    ("Answer: D", "D", None),
    ("The answer is wool. That choice is a good one.", "B", None),
    ("The answer is A. But the right choice is B.", "B", None),
    # The paper's pattern ends at the first punctuation inside a text; ours reads on.
    ("The answer is: The baker's cap", "D", None),
    ("The answer is: 1.5 m", "C", None),
    ("The answer is: B wool", "B", None),
    # No choice, or more than one, or a word that is no label.
    ("", None, None),
    ("The answer is:", None, None),
    ("A hat is worn on the head", None, None),
    ("The answer is A hat", None, None),
    ("The answer is not B", None, None),
    ("The answer is: A and B", None, None),
    ("B or C", None, None),
    ("E", None, None),
    ("The answer is: E", None, None),
    ("15 m", None, None),
    ("I do not know.", None, None),
]


@pytest.mark.parametrize(("answer", "ours", "papers"), TABLE)
def test_the_option_that_an_answer_chooses(answer, ours, papers):
    assert chosen_option(answer, HATS) == ours
    assert chosen_option(answer, HATS, "paper") == papers


def test_two_options_that_differ_in_punctuation_alone_are_no_choice():
    options = {"A": "+5", "B": "-5"}
    assert chosen_option("The answer is: 5", options, "paper") is None
    assert chosen_option("B", options) == "B"
    assert chosen_option("The answer is: -5", options) == "B", "letter for letter the same text"


def generation(answer: str, question: str = "", reference: str | None = "B") -> Generation:
    return Generation(
        suite="arc-easy", prompt_id="1", category="", question=question or arc_prompt("Which?", list(HATS.values())),
        template="chat", prompt_text="?", answer=answer, finish_reason="stop", step=3, decoding={},
        measures="helpfulness", reference=reference,
    )  # fmt: skip


def test_right_wrong_and_unscored():
    rows = [
        generation("B"),
        generation("C"),
        generation("who knows"),
        generation("B", "Which?"),
        generation("B", "", None),
    ]
    for name, correct in (("arc", [True, False, False, None, None]), ("arc-paper", [False] * 3 + [None] * 2)):
        found = build_judge(name).verdicts(rows)
        assert [verdict.correct for verdict in found] == correct
        assert {verdict.judge for verdict in found} == {name}


def test_the_judge_leaves_other_suites_undefined_and_not_wrong():
    rows = [generation("72", "How many hats?", "#### 72")] * 20
    (record,) = summarise(ArcJudge().verdicts(rows))
    assert (record["rate"], record["n"], record["unscored"]) == (None, 0, 20)
    assert "20 of 20" in record["undefined"]


FORMS = ("{0}", "({0})", "{0}.", "The answer is {0}", "The answer is: {0}", "{1}", "The answer is: {1}", "{0}. {1}",
         "I see. So the correct answer is ({0}) {1}.", "The answer is: ({0}) {1}")  # fmt: skip


@pytest.mark.parametrize("part", ["Easy", "Challenge"])
def test_every_real_question_in_every_form(part, shared_data):
    """The right option is read out of each form, on all rows, some with three or five options."""
    rows = json.loads((shared_data / f"arc/ARC-{part}_test.json").read_text(encoding="utf-8"))
    missed = []
    for number, raw in enumerate(rows):
        row = arc_row(raw, "row")
        options = options_of(row["prompt"])
        for form in FORMS:
            answer = form.format(row["answer"], options[row["answer"]])
            if chosen_option(answer, options) != row["answer"]:
                missed.append((number, answer))
        assert chosen_option(f"The answer is: {row['answer']}", options, "paper") == row["answer"]
    # What is left are formulas that the paper's pattern cuts to another option's text or letter.
    assert len({number for number, _ in missed}) <= 5, missed


@given(st.text(max_size=80), st.lists(st.text(max_size=12), min_size=2, max_size=8))
def test_any_text_chooses_one_option_or_none(answer, texts):
    options = dict(zip(LETTERS, texts, strict=False))
    ours, papers = chosen_option(answer, options), chosen_option(answer, options, "paper")
    assert ours is None or ours in options
    assert papers in (None, ours), "where the paper's rule finds a choice, ours finds the same"


def test_long_answers_take_no_time():
    for answer in ("The answer is: " * 4000, "(" * 50_000, "A, " * 20_000, "answer:" * 8000, " " * 50_000):
        chosen_option(answer, HATS)
