"""Drafts change how long answers take, and no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_models import VOCABULARY, differences, model_of, ours, prompts_of, requests_of
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.drafts import Trust, held
from ptst_pl.generation.engine.model_runner import ModelRunner

SAMPLED = {"temperature": 1.3, "top_p": 0.95, "top_k": 50}
IDS = st.lists(st.integers(0, 3), max_size=8)


@pytest.fixture
def passes(monkeypatch):
    """Rows of every decode step."""
    seen: list[int] = []
    real = ModelRunner.decode

    def counted(self, rows, steps):
        seen.append(len(rows))
        return real(self, rows, steps)

    monkeypatch.setattr(ModelRunner, "decode", counted)
    return seen


def spoilt(number: int, ids: list[int]) -> list[int]:
    """An answer as a draft: right, too short, too long, wrong somewhere, wrong from the start, or nothing."""
    at = number % max(1, len(ids))
    wrong = [*ids[:at], (ids[at] + 1) % VOCABULARY if ids else 5, *ids[at + 1 :]]
    return [ids, ids[: len(ids) // 2], [*ids, 7, 8, 9], wrong, [63, *ids], []][number % 6]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(**SAMPLED)], ids=["greedy", "sampled"])
@pytest.mark.parametrize("prefix", [0, 21])
@pytest.mark.parametrize("kind", ["llama", "gemma2", "mistral", "gpt_neox"])
def test_answers_are_the_same_whatever_the_drafts_say(kind, prefix, decoding):
    model, requests = model_of(kind), requests_of(prompts_of(18, prefix))
    plain = ours(model, requests, decoding)
    for shift, slots in ((0, 64), (1, 3), (2, 5)):
        drafts = [spoilt(number + shift, answer.ids) for number, answer in enumerate(plain)]
        found = ours(
            model,
            [replace(request, draft=draft) for request, draft in zip(requests, drafts, strict=True)],
            replace(decoding, slots=slots),
        )
        assert found == plain or (kind != "llama" and not differences(model, requests, found, plain))


def test_what_is_answered_as_before_takes_no_step(passes):
    model, requests = model_of("llama"), requests_of(prompts_of(18, 21))
    before = ours(model, requests)
    assert len(passes) > 3
    passes.clear()
    again = [replace(request, draft=answer.ids) for request, answer in zip(requests, before, strict=True)]
    assert ours(model, again) == before
    assert passes == []


def test_drafts_that_do_not_hold_are_soon_no_longer_read(monkeypatch):
    model, requests = model_of("llama"), requests_of(prompts_of(18, 0), longest=12)
    read = []
    real = ModelRunner.prefill

    def noted(self, first, rows):
        read.append([len(row.draft) for row in rows])
        return real(self, first, rows)

    monkeypatch.setattr(ModelRunner, "prefill", noted)
    before = ours(model, requests)
    read.clear()
    drafts = [[(answer.ids or [1])[0] + 1] * 30 for answer in before]
    wrong = [replace(request, draft=draft) for request, draft in zip(requests, drafts, strict=True)]
    assert ours(model, wrong, Decoding(slots=4)) == before
    assert sum(read[0]) > 0
    assert sum(map(sum, read[1:])) == 0


@given(IDS, IDS)
def test_held_is_the_answers_beginning(draft, rest):
    chosen = [*draft, *rest, 9]
    assert held(draft, chosen[: len(draft) + 1]) == chosen[: len(draft) + 1]
    for place in range(len(draft)):
        other = [*draft[:place], draft[place] + 1, *draft[place + 1 :]]
        assert held(other, chosen[: len(draft) + 1]) == chosen[: place + 1]


def test_trust_follows_what_held():
    trust = Trust(0.5)
    assert trust.worthwhile
    trust.note([[1, 2, 3, 4], []], [[1, 2, 9], [5]])
    assert (trust.read, trust.held) == (4, 2)
    assert trust.worthwhile
    trust.note([[1]], [[2]])
    assert not trust.worthwhile
