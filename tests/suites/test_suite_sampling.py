"""Parts of a suite, and the hashes of part and whole."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.suites import Prompt, PromptSuite, SuiteSpec, load_suite, stratified, suite_spec

prompts = st.lists(st.tuples(st.text(min_size=1, max_size=5), st.sampled_from("abc")), min_size=1, max_size=30).map(
    lambda rows: [Prompt(str(n), text, kind) for n, (text, kind) in enumerate(rows)]
)
HATS = [{"prompt": f"How do I wash hat {n}?", "category": ("red", "blue", "green")[n % 3]} for n in range(12)]


@settings(max_examples=50, deadline=None)
@given(prompts=prompts, limit=st.integers(1, 35), order=st.randoms(use_true_random=False))
def test_limit_is_a_stratified_part_that_is_the_same_every_time(prompts, limit, order):
    part = stratified(prompts, limit)
    assert part == stratified(list(prompts), limit)
    assert len(part) == min(limit, len(prompts))
    assert [p for p in prompts if p in part] == part
    sizes = collections.Counter(p.category for p in prompts)
    for kind, count in collections.Counter(p.category for p in part).items():
        assert abs(count - len(part) * sizes[kind] / len(prompts)) < 1
    shuffled = list(prompts)
    order.shuffle(shuffled)
    if len({p.category for p in prompts}) == 1:  # else a tie between categories may fall differently
        assert sorted(p.text for p in stratified(shuffled, limit)) == sorted(p.text for p in part)


def test_hash_changes_with_any_change():
    base = [Prompt("1", "a", "x"), Prompt("2", "b", "x")]
    changed = [
        base,
        base[:1],
        base[::-1],
        [*base, base[0]],
        [Prompt("1", "a ", "x"), base[1]],
        [Prompt("1", "a", "y"), base[1]],
        [Prompt("1", "ab", "x"), Prompt("2", "", "x")],
        [Prompt("1", "a", "x", reference="4"), base[1]],
    ]
    hashes = [PromptSuite("mine", tuple(rows)).sha256 for rows in changed]
    assert len(set(hashes)) == len(changed)
    assert PromptSuite("other", tuple(base)).sha256 == hashes[0]


def test_part_and_whole_are_both_recorded(write_rows):
    path = str(write_rows("hats.csv", HATS))
    whole = load_suite(SuiteSpec("hats", path)).record()
    part = load_suite(suite_spec({"name": "hats", "path": path, "limit": 3, "categories": ["red", "blue"]})).record()
    assert (whole["n"], whole["full_n"], whole["sha256"]) == (12, 12, whole["full_sha256"])
    assert (part["n"], part["full_n"], part["full_sha256"]) == (3, 12, whole["sha256"])
    assert part["sha256"] != part["full_sha256"]


def test_categories_are_chosen_before_the_limit_and_keep_the_order(write_rows):
    path = str(write_rows("hats.csv", HATS))
    chosen = load_suite(SuiteSpec("hats", path, categories=["green", "red"])).prompts
    assert [p.category for p in chosen] == ["red", "green"] * 4
    part = load_suite(SuiteSpec("hats", path, categories=["green", "red"], limit=4)).prompts
    assert collections.Counter(p.category for p in part) == {"red": 2, "green": 2}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"categories": ["rde"]}, "unknown category 'rde'; did you mean 'red'? (known: red, blue, green)"),
        ({"categories": []}, "categories is empty"),
        ({"categories": "red"}, "categories is 'red', expected a list of categories"),
        ({"categories": ["red", 3]}, "expected a list of categories"),
        ({"limit": 0}, "limit is 0, expected at least 1"),
        ({"limit": -1}, "limit is -1, expected at least 1"),
        ({"limit": True}, "limit is True, expected int"),
        ({"limit": "3"}, "limit is '3', expected int"),
        ({"measures": "harm"}, "measures is 'harm', expected one of asr, over-refusal, helpfulness"),
        ({"categorys": ["red"]}, "unknown key 'categorys'; did you mean 'categories'?"),
        ({"name": None}, "key 'name' is missing"),
    ],
)
def test_wrong_keys(write_rows, keys, expected):
    path = str(write_rows("hats.csv", HATS))
    with pytest.raises(InputError) as caught:
        load_suite(suite_spec({"name": "hats", "path": path, **keys}))
    assert expected in str(caught.value)


def test_categories_of_a_suite_without_any(write_rows):
    path = str(write_rows("plain.csv", [{"prompt": "a"}, {"prompt": "b"}]))
    with pytest.raises(InputError, match="its prompts have no category"):
        load_suite(SuiteSpec("plain", path, categories=["red"]))
