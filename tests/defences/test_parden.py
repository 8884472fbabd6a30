"""PARDEN: what is repeated passes, what is not is withheld; the same evaluation with one column more."""

from __future__ import annotations

import contextlib
import json
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import World, lines

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.defences.serving import Bare, build_serving
from ptst_pl.defences.serving import parden as module
from ptst_pl.defences.serving.parden import REFUSAL, first_words, similarity, threshold_for
from ptst_pl.generation import Answer
from ptst_pl.report.serving import auc, false_positives_at, roc
from ptst_pl.results.records import Generation

TEXTS = ["Take two eggs and whip them with a fork until they are light.", "One two three four five six seven."]
words = st.lists(
    st.sampled_from(["a", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again", "and", "again"]),
    min_size=8,
)


@given(words, st.sampled_from(["characters", "words"]))
def test_a_perfect_repetition_scores_one(text, unit):
    said = " ".join(text)
    assert similarity(said, f"  {said}\n", 60, unit) == pytest.approx(1.0)


@given(words, words, st.integers(4, 20))
def test_only_the_first_words_count(text, more, count):
    said, longer = " ".join(text), " ".join([*text[:count], *more])
    assert similarity(first_words(said, count), longer, min(count, len(text))) == pytest.approx(1.0)


def test_nothing_to_repeat_is_fine_and_no_repetition_is_not():
    assert similarity("", "anything", 60) == 1.0
    assert similarity("Some words", "", 60) == 0.0


def test_a_canned_refusal_scores_as_published(shared_data):
    """Over characters .243 (sd .056) on 484 long answers, over words 0: arXiv 2405.07932's code on other texts."""
    rows = json.loads((shared_data / "chatdoctor/chatdoctor5k.json").read_text())[:400]
    texts = [row["output"] for row in rows if len(row["output"].split()) > 60][:100]
    canned = "I cannot fulfill your request. I'm just an AI, it's not within my programming or ethical guidelines to "
    canned += "provide or promote harmful or illegal activities. Is there anything else I can help you with?"
    scores = [similarity(text, canned, 60) for text in texts]
    assert len(scores) > 50
    assert 0.243 - 0.056 < sum(scores) / len(scores) < 0.243 + 0.056
    assert max(similarity(text, canned, 60, "words") for text in texts) < 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 0.99))
def test_the_threshold_withholds_at_most_its_share(scores, rate):
    threshold = threshold_for(scores, rate)
    assert sum(score < threshold for score in scores) <= rate * len(scores)


def test_roc_of_what_is_told_apart_and_of_what_is_not():
    assert auc(roc([0.1, 0.2], [0.8, 0.9])) == 1.0
    assert false_positives_at(roc([0.1, 0.2], [0.8, 0.9])) == 0.0
    rng = random.Random(0)
    same = [rng.random() for _ in range(400)], [rng.random() for _ in range(400)]
    assert auc(roc(*same)) == pytest.approx(0.5, abs=0.05)


def answers(texts):
    records = [Generation("s", str(n), "", "q", "chat:llama", "p", t, "stop", 3, {}) for n, t in enumerate(texts)]
    return [Bare(record, [1], Answer([2], "stop"), lambda answer: None) for record in records]


@pytest.mark.parametrize(("repeater", "flagged"), [(lambda texts: texts, False), (lambda t: [REFUSAL] * len(t), True)])
def test_a_parrot_is_never_flagged_and_a_refuser_always(repeater, flagged, monkeypatch):
    parden = build_serving({"name": "parden", "threshold": 0.5})
    monkeypatch.setattr(
        module.Parden, "_repeat", lambda self, model, texts, served: [(said, 7) for said in repeater(texts)]
    )
    served = SimpleNamespace(aligned=lambda: contextlib.nullcontext(None))
    shown, facts = parden.answers(answers(TEXTS), served)
    assert [fact["flagged"] for fact in facts] == [flagged] * 2
    assert [one.answer for one in shown] == ([REFUSAL] * 2 if flagged else TEXTS)
    assert {one.template for one in shown} == {"parden:chat:llama"}
    assert {fact["tokens"] for fact in facts} == {7}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pardon", "unknown name 'pardon'; did you mean 'parden'?"),
        ({"name": "parden", "treshold": 1}, "unknown key 'treshold'; did you mean 'threshold'?"),
        ({"name": "parden", "threshold": 2.0}, "threshold is 2.0, expected 0 to 1"),
        ({"name": "parden", "unit": "bytes"}, "expected characters or words"),
    ],
)
def test_mistakes_are_one_line(spec, expected):
    with pytest.raises(InputError) as error:
        build_serving(spec)
    assert expected in str(error.value)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_fit_has_one_column_more_and_the_bare_ones_as_before(world: World, method):
    """Every answer is there twice, bare and served; a resumed fit has the same lines; the weights do not feel it."""
    own = (
        "--trainer.max_epochs",
        "-1",
        "--trainer.max_steps",
        "2",
        "--model.method",
        method,
        "--safety.active",
        "true",
    )
    served = ("--safety.defence", '{"name": "parden", "threshold": 0.3, "max_new_tokens": 8}')
    bare = world.fit(f"bare-{method}", *own)
    run = world.fit(f"parden-{method}", *own, *served, "--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1")
    plain, both = (lines(folder / "safety/generations.jsonl") for folder in (bare, run))
    assert [row for row in both if not row["template"].startswith("parden:")] == plain
    assert len(both) == 2 * len(plain)
    facts = lines(run / "safety/served.jsonl")
    assert len(facts) == len(plain)
    for fact, row in zip(facts, [row for row in both if row["template"].startswith("parden:")], strict=True):
        assert (row["answer"] == REFUSAL) >= fact["flagged"]
        assert fact["flagged"] == (fact["score"] < 0.3)
    meta = json.loads((run / "safety/results.json").read_text())
    assert meta["serving_defence"]["name"] == "parden"
    assert set(meta["templates"]) == {"text:vanilla", "parden:text:vanilla"}
    shipped = world.folder / f"shipped-{method}"
    main(["export", str(run), "--output", str(shipped)])
    card = (shipped / "README.md").read_text()
    assert "**Serve under `text:vanilla`**" in card, "not under a template that the folder cannot keep its promise for"
    assert "`parden:` templates are evaluation only" in card
    again = ("--ckpt_path", str(run / "step-000001.ckpt"))
    resumed = world.fit(f"parden-{method}-again", *own, *served, *again)
    assert [f for f in lines(resumed / "safety/served.jsonl") if f["step"] == 2] == [f for f in facts if f["step"] == 2]
