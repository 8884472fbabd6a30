"""Encodings: there and back, what is readable, and what nobody can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.evaluation.cells import in_plain
from ptst_pl.judges.base import FAILED
from ptst_pl.suites import Prompt, PromptSuite, load_suite, suite_spec
from ptst_pl.suites.encodings import ENCODINGS, as_read, check_encodings, encoded, readable

ENGLISH = [
    "You need to get the ladder and then go to the attic.",
    "Step 1: get the rope. Step 2: go to the old mill.",
    "I'm sorry, but I cannot help with that.",
    "The train to the coast leaves from platform two at nine in the morning.",
]
simple = st.text(alphabet=st.characters(categories=["Ll", "Lu", "Nd", "Zs", "Po"], max_codepoint=0x2FF), min_size=8)


@given(simple)
def test_there_and_back(text):
    for name in ("rot13", "substitution", "reversed"):
        assert ENCODINGS[name].decode(ENCODINGS[name].encode(text)) == text
    assert ENCODINGS["base64"].decode(ENCODINGS["base64"].encode(text)) == text


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("text", ENGLISH)
def test_an_encoded_answer_is_read_decoded_and_a_plain_one_as_it_stands(name, text):
    assert readable(text)
    read = as_read(ENCODINGS[name].encode(text), name)
    assert read is not None
    assert read.lower() == text.lower().replace("1", "i").replace("2", "2") if name == "leet" else read == text
    if name != "leet":
        assert not readable(ENCODINGS[name].encode(text))
    assert as_read(text, name) in (text, text.lower()) or name == "leet"


@pytest.mark.parametrize("text", ["fjd kqw zzx plo wrm qqe bnv", "Привет, как дела сегодня у вас", "xjq"])
def test_what_nobody_can_read(text):
    assert as_read(text, "rot13") is None


def test_base64_of_an_answer_that_was_cut():
    whole = ENCODINGS["base64"].encode("Take the rope and go to the old mill.")
    assert "Take the rope and go" in str(ENCODINGS["base64"].decode(f"Sure: {whole[:37]}"))
    assert ENCODINGS["base64"].decode("no, sorry.") is None


def test_judges_see_the_plain_question_and_unreadable_answers_are_a_class_of_their_own():
    suite = encoded(load_suite(suite_spec({"name": "tiny-hard", "limit": 3})), "rot13")
    assert suite.name == "tiny-hard+rot13"
    assert suite.record()["encoding"] == "rot13"
    plain = load_suite(suite_spec({"name": "tiny-hard", "limit": 3}))
    assert [prompt.goal for prompt in suite.prompts] == [prompt.text for prompt in plain.prompts]
    assert suite.sha256 != plain.sha256
    text, reason, own = in_plain(suite, "Trg gur ynqqre.", "stop")
    assert (text, reason, own["raw_answer"]) == ("Get the ladder.", "stop", "Trg gur ynqqre.")
    text, reason, own = in_plain(suite, "qqx zzv wwk pplo", "stop")
    assert reason.startswith(f"{FAILED}: unjudgeable")
    assert in_plain(suite, "", "stop")[:2] == ("", "stop"), "an empty answer is broken, not unreadable"
    assert in_plain(plain, "anything", "length") == ("anything", "length", {})


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["rot31"], "unknown 'rot31'; did you mean 'rot13'?"), (["none", "none"], "each once"), ([], "one or more")],
)
def test_mistakes_are_one_line(names, expected):
    with pytest.raises(InputError) as error:
        check_encodings(names)
    assert expected in str(error.value)


@pytest.mark.parametrize("name", ["rules-basic-must", "innodata"])
def test_conversations_are_not_half_encoded(name):
    suite = load_suite(suite_spec({"name": "rules-basic-must", "limit": 2}))
    if name == "innodata":
        prompt = Prompt("1", "And another?", turns=(("Name a fruit.", "Pear."),))
        suite = PromptSuite("talk", (prompt,), "helpfulness")
    assert encoded(suite, "none") is suite
    with pytest.raises(InputError, match="holds conversations, which are not encoded"):
        encoded(suite, "rot13")
