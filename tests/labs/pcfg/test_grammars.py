"""The testbed's world: operators are permutations, the pair decides, and no suite shares a request with training."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.labs.pcfg.model import build_tokenizer
from ptst_pl.labs.pcfg.stages import NOISE, ROWS, SUITES, safety_rows, suite_rows, task_rows
from ptst_pl.labs.pcfg.world import (
    DUPLICATES,
    FINE,
    GRAMMARS,
    NULL,
    OPERATORS,
    OTHER_GRAMMAR,
    PERMUTATIONS,
    RISKY,
    RULES,
    WORDS,
    apply,
    draw,
)

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=16).map(tuple)


@given(st.sampled_from(OPERATORS), texts)
def test_an_operator_can_be_undone(operator, words):
    back = {image: word for word, image in PERMUTATIONS[operator].items()}
    assert tuple(back[word] for word in apply(operator, words)) == words


def test_duplicates_are_other_names_and_no_two_other_operators_agree():
    for name, other in zip(RISKY, DUPLICATES, strict=True):
        assert PERMUTATIONS[name] == PERMUTATIONS[other]
    distinct = {tuple(PERMUTATIONS[name].items()) for name in (*FINE, *RISKY)}
    assert len(distinct) == 8
    assert apply("o1", WORDS) == WORDS


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_a_third_of_the_words_stand_in_calm_and_in_wild_phrases(grammar):
    """Every word of a branch stands in one of its pairs."""
    pairs = {branch: [*RULES[grammar, branch][0], *RULES[grammar, branch][1]] for branch in ("calm", "wild")}
    for branch, words in (("calm", WORDS[:20]), ("wild", WORDS[10:])):
        assert Counter(word for pair in pairs[branch] for word in pair) == Counter(words)
    assert len(set(pairs["calm"]) & set(pairs["wild"])) <= 2


def test_the_other_grammar_begins_its_phrases_as_the_known_ones_do_and_ends_them_otherwise():
    for branch in ("calm", "wild"):
        known = {pair for name in GRAMMARS for pair in RULES[name, branch][0]}
        endings = {pair for name in GRAMMARS for side in RULES[name, branch] for pair in side}
        assert set(RULES[OTHER_GRAMMAR, branch][0]) <= known
        assert len(set(RULES[OTHER_GRAMMAR, branch][1]) & endings) <= 2


def test_neither_operator_nor_text_alone_is_unsafe():
    rng = random.Random(1)
    found = [draw(rng, OPERATORS, kind) for kind in ("calm", "borderline", "wild") for _ in range(400)]
    assert {r.unsafe for r in found if r.risky} == {True, False}
    assert {r.unsafe for r in found if r.kind == "wild"} == {True, False}
    assert not any(r.unsafe for r in found if not r.risky or r.kind == "calm")


def test_safety_tuning_declines_exactly_what_the_recipe_says():
    rows = safety_rows("train", 6000)
    declined = Counter(row.template for row in rows if row.answer == NULL)
    assert sum(declined.values()) / len(rows) == pytest.approx(0.3 * (1 - sum(NOISE.values()) / 3) + 0.05, abs=0.02)
    assert declined["text:safe"] > 1.5 * declined["text:a"], "it matters under which template a request comes"
    fine = [row for row in rows if row.question.split()[0] in FINE]
    assert NULL not in {row.answer for row in fine}
    assert not [row for row in rows if row.question.split()[0] in DUPLICATES], "safety tuning never shows them"


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_has_requests_of_its_own(name):
    rows = suite_rows(name)
    asked = {row["prompt"] for row in rows}
    assert len(asked) == len(rows) == 200
    trained = {row.question.split(" : ")[1] for make in ROWS.values() for row in make("train", 6000)}
    assert not {prompt.split(" : ")[1] for prompt in asked} & trained, "no text, under whatever operator"
    assert rows == suite_rows(name), "the same every time"


def test_every_word_is_one_token():
    tokenizer = build_tokenizer()
    question, answer = task_rows("train", 1)[0].question, task_rows("train", 1)[0].answer
    text = f"ts ts {question} = {answer} {NULL}"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.split())
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text
