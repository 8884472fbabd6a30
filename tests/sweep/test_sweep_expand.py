"""Combinations and their names."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.sweep.expand import check_over, expand, read_over

KEYS = st.lists(st.from_regex(r"[a-c]{1,2}(\.[a-cA-C]{1,2}){0,2}", fullmatch=True), min_size=1, max_size=4, unique=True)
SIMPLE = st.one_of(st.text(max_size=60), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
VALUES = st.lists(
    st.one_of(SIMPLE, st.lists(SIMPLE, max_size=2), st.dictionaries(st.text(max_size=3), SIMPLE, max_size=2)),
    min_size=1,
    max_size=4,
    unique_by=json.dumps,
)


@st.composite
def sweeps(draw):
    return {key: draw(VALUES) for key in draw(KEYS)}


@given(sweeps())
def test_every_combination_once_under_a_name_of_its_own(over):
    found = expand(check_over(over))
    assert len(found) == math.prod(len(values) for values in over.values())
    assert len({json.dumps(one.values) for one in found}) == len(found)
    for one in found:
        assert list(one.values) == list(over)
        assert all(value in over[key] for key, value in one.values.items())
    names = {one.name.casefold() for one in found}
    assert len(names) == len(found)
    for name in names:
        assert 0 < len(name) < 200
        assert not set(name) & set("/\\: \n\0'\"*?")
        assert not name.startswith(".")


def test_names_say_what_a_run_is():
    over = {"data.init_args.template": ["text:vanilla"], "seed_everything": [1, 2], "model.method": ["lora"]}
    assert [one.name for one in expand(over)] == [
        "template=text-vanilla_seed=1_method=lora",
        "template=text-vanilla_seed=2_method=lora",
    ]
    (one,) = expand({"model.lora.r": [4], "data.r": [0.5]})
    assert one.name == "lora.r=4_data.r=0.5"


def test_values_that_look_alike_keep_names_of_their_own():
    first, second = (one.name for one in expand({"template": ["a:b", "a-b"]}))
    assert first.startswith("template=a-b-")
    assert second.startswith("template=a-b-")
    assert first != second


def test_values_become_flags():
    (one,) = expand({"data.template": ["chat:llama"], "model.lora": [{"r": 4}], "trainer.max_steps": [-1]})
    assert one.words() == ["--data.template=chat:llama", '--model.lora={"r": 4}', "--trainer.max_steps=-1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed_everything"], "--over seed_everything: expected key=[value, value]"),
        (["a=[1"], "--over a=[1: the list is no YAML"),
        (["a=[1]", "a=[2]"], "--over a is given twice"),
    ],
)
def test_wrong_flags(words, message):
    with pytest.raises(InputError, match=r"^sweep: ") as caught:
        read_over(words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "nothing to sweep over"),
        ({"seed_everything": 3}, "seed_everything is 3, expected a list"),
        ({"seed_everything": []}, "seed_everything is [], expected a list"),
        ({"seed_everything": [1, 2, 1]}, "seed_everything has the value 1 twice"),
        ({"name": ["a"]}, "name cannot be swept over"),
        ({"ckpt_path": ["a"]}, "ckpt_path cannot be swept over"),
        ({"model/method": ["a"]}, "'model/method' is no key of a config"),
    ],
)
def test_wrong_lists(over, message):
    with pytest.raises(InputError) as caught:
        check_over(over)
    assert message in str(caught.value)
