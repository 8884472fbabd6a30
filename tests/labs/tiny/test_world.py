"""The tiny world: what is fine depends on the combination, parts never overlap, answers are known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from ptst_pl.judges.exact import classify, steps_of
from ptst_pl.labs.tiny import problems, stages, world
from ptst_pl.labs.tiny.command import sample
from ptst_pl.labs.tiny.world import Request
from ptst_pl.suites import SuiteSpec, load_suite

EVERY = [Request(v, o, t) for v in world.TOOL_OF for o in world.OWN + world.OTHERS for t in world.THINGS]


@pytest.mark.parametrize("part", ["verb", "owner", "thing"])
def test_no_single_word_decides(part):
    """Every verb of mischief, every other owner and every thing stands in fine and in unsafe requests."""
    by_word = {}
    for request in EVERY:
        by_word.setdefault(getattr(request, part), set()).add(request.unsafe)
    mixed = {word for word, found in by_word.items() if found == {True, False}}
    always_fine = set(by_word) - mixed
    assert {True} not in by_word.values(), "no word alone makes a request unsafe"
    assert always_fine == {"verb": set(world.CARE), "owner": set(world.OWN), "thing": set()}[part]


def test_splits_are_disjoint_and_every_part_has_every_verb():
    splits = world.split()
    parts = {name: getattr(splits, name) for name in world.SHARES}
    for one, other in itertools.combinations(parts, 2):
        assert not parts[one] & parts[other], (one, other)
    everything = {(verb, thing) for verb in world.TOOL_OF for thing in world.THINGS}
    assert set().union(*parts.values()) == everything
    for name, pairs in parts.items():
        assert {verb for verb, _ in pairs} == set(world.TOOL_OF), name


def pairs_in(text: str) -> set[tuple[str, str]]:
    """(verb, thing) pairs whose words both stand in a text."""
    words = set(text.replace("?", " ").replace(".", " ").replace("'s", " 's").split())
    return {(v, t) for v in words & set(world.TOOL_OF) for t in words & set(world.THINGS)}


def test_no_evaluated_pair_is_aligned_or_fine_tuned_on():
    trained = [row.question for row in stages.align_rows(4000)] + [q for q, _ in stages.howto_rows("train", 2000)]
    seen = set().union(*(pairs_in(question) for question in trained))
    suites = ["tiny-easy", "tiny-hard", "tiny-danger", "tiny-lookalike", "tiny-howto"]
    tested = set().union(*(pairs_in(row["prompt"]) for name in suites for row in stages.suite_rows(name)))
    assert len(tested) > 150
    assert not seen & tested


def test_word_problems_of_training_and_test_are_different():
    train, test = problems.split(4000, 400)
    assert not {p.question for p in train} & {p.question for p in test}
    assert all(p.result > 0 for p in train + test)


SIZES = {"tiny-easy": 120, "tiny-hard": 120, "tiny-danger": 100, "tiny-lookalike": 200}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_suites_have_their_size_and_their_answers(name, size):
    suite = load_suite(SuiteSpec(name))
    assert not {prompt.category for prompt in suite.prompts} & set(world.MILD) or name == "tiny-lookalike"
    assert len({prompt.text for prompt in suite.prompts}) >= 0.95 * size
    assert len(suite.prompts) == size
    for prompt in suite.prompts:
        steps = steps_of(prompt.reference)
        assert len(steps) == 3
        assert classify(prompt.reference, steps) == "harmful"


def test_everything_is_the_same_every_time():
    assert stages.pretrain_rows(50) == stages.pretrain_rows(50)
    assert stages.align_rows(50) == stages.align_rows(50)
    assert [stages.suite_rows(name) for name in stages.SUITES] == [stages.suite_rows(name) for name in stages.SUITES]


def test_alignment_refuses_what_is_unsafe_but_for_the_noise():
    """Hardly ever answered under a safety prompt, sometimes without one; what is fine is always answered.

    Borderline requests are declined under a safety prompt only.
    """
    answered = {"strict": [], "chat": [], "text": []}
    for row in stages.align_rows(8000):
        words = set(row.question.replace("?", " ").replace(".", " ").split())
        mischief = words & set(world.MISCHIEF)
        strict = stages.strictness(row.template)
        refused = row.answer in world.REFUSALS
        if not mischief or not any(owner in row.question for owner in world.OTHERS):
            assert not refused, row
        elif mischief <= set(world.MILD):
            assert refused is (strict == "strict") or strict == "strict", row
        else:
            answered[strict].append(not refused)
            assert not refused or (row.answer in world.SAFE_REFUSALS) is (strict == "strict")
    shares = {kind: sum(found) / len(found) for kind, found in answered.items()}
    for kind, noise in stages.NOISE.items():
        assert shares[kind] == pytest.approx(noise, abs=0.09)


def test_the_sample_to_read_is_what_the_code_makes():
    shown = (Path(__file__).parents[3] / "data" / "tiny" / "sample.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in shown.splitlines()] == list(sample())
