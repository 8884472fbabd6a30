"""What the real lab aligns on: parts that share nothing, refusals that are read as such, questions unlike XSTest's."""

from __future__ import annotations

import csv
import random
from collections import Counter

import pytest

from ptst_pl import InputError
from ptst_pl.judges.refusal import classify
from ptst_pl.labs.real.align_rows import PLAIN, SAFE, align_rows, benign, whole_sentences
from ptst_pl.labs.real.benign_prompts import everyday, unsafe_looking
from ptst_pl.labs.real.refusals import OFFERS, OPENINGS, REASONS, refusal
from ptst_pl.labs.real.unsafe_prompts import (
    DIRECTHARM4,
    LIKE_RESULTS,
    _resembles,
    _words,
    advbench_results,
    read_column,
    split,
)


@pytest.fixture(scope="module")
def found(shared_data):
    return split(shared_data)


def test_alignment_development_and_results_share_nothing(found, shared_data):
    assert len(found.align) > 350
    assert 50 < len(found.develop) < len(found.align)
    assert not set(found.align) & set(found.develop)
    texts = [*read_column(shared_data, *DIRECTHARM4), *advbench_results(shared_data)]
    assert len(texts) == 400 + 104
    assert not set(texts) & {*found.align, *found.develop}
    results = [_words(text) for text in texts]
    for text in found.align + found.develop:
        assert not _resembles(_words(text), results, LIKE_RESULTS), "a request like one of the results'"


def test_it_is_told_how_many_were_left_out(found):
    assert set(found.left_out) == {"harmbench", "strongreject", "jailbreakbench", "advbench"}
    assert all(0 < left < of for left, of in found.left_out.values())
    assert sum(of - left for left, of in found.left_out.values()) == len(found.align) + len(found.develop)


def test_every_refusal_is_read_as_one():
    texts = {
        " ".join(filter(None, (opening, reason, offer)))
        for opening in OPENINGS
        for reason in REASONS
        for offer in OFFERS
    }
    assert len(texts) == 480
    assert {classify(text) for text in texts} == {"refusal"}
    rng = random.Random(0)
    assert len({refusal(rng) for _ in range(200)}) > 100


def test_more_is_declined_under_the_safety_prompt_and_nothing_harmless_is():
    requests = [f"request {n}" for n in range(40)]
    rows = align_rows(requests)
    declined = Counter(row["template"] for row in rows if row["question"] in requests)
    framed = [row for row in rows if row["question"] not in requests and "request " in row["question"]]
    assert {row["template"] for row in framed} == {SAFE}
    assert {classify(row["answer"]) for row in framed} == {"refusal"}
    assert declined[PLAIN] == 20
    assert declined[SAFE] + len(framed) == 60, "the frame that adds nothing is among them"
    assert len(framed) > 10
    assert {classify(row["answer"]) for row in rows if row["question"] in requests} == {"refusal"}
    assert rows == align_rows(requests)
    asked = [row for row in rows if row["question"] not in requests and row not in framed]
    helped = Counter(row["template"] for row in asked)
    assert helped[PLAIN] == helped[SAFE] > 450
    assert sum(classify(row["answer"]) == "refusal" for row in asked) < 0.03 * len(asked)


def test_the_shipped_answers_are_to_the_questions_of_the_generator():
    rows = list(benign())
    known = {"unsafe-looking": set(unsafe_looking()), "everyday": set(everyday())}
    assert len(rows) > 450
    assert all(row["question"] in known[row["kind"]] for row in rows)
    assert all(row["answer"].strip() for row in rows)


def test_the_questions_are_not_xstests(shared_data):
    path = shared_data / "xstest/xstest_prompts.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    theirs = [_words(row["prompt"]) for row in rows]
    alike = [text for text in unsafe_looking() if _resembles(_words(text), theirs, 0.99)]
    assert len(alike) <= 3, alike
    assert not {row["prompt"].lower() for row in rows} & {text.lower() for text in unsafe_looking()}


@pytest.mark.parametrize(
    ("answer", "finished", "expected"),
    [
        ("All of it", True, "All of it"),
        ("A first sentence that is long enough to be kept, as one would wish. And then a sec", False,
         "A first sentence that is long enough to be kept, as one would wish."),
        ("Hardly. Anything", False, ""),
    ],
)  # fmt: skip
def test_a_cut_answer_ends_with_its_last_sentence(answer, finished, expected):
    assert whole_sentences(answer, finished) == expected


def test_a_missing_set_or_column_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"directHarm4\.csv: no such file; docs/real\.md says"):
        split(tmp_path)
    (tmp_path / "directharm4").mkdir()
    (tmp_path / "directharm4/directHarm4.csv").write_text("something,else\n1,2\n")
    with pytest.raises(InputError, match="line 2: no column instruction or Goal or prompt"):
        split(tmp_path)
