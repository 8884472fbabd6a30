"""SafeNudge: at most one nudge, from the fifth token on, where nobody sees it; what follows is ``generate``'s."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_fixtures import World, lines

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.defences.serving import Bare, Served, build_serving
from ptst_pl.defences.serving.answer_scorer import AnswerScorer, key_of, load_scorer
from ptst_pl.defences.serving.safenudge import FIRST
from ptst_pl.generation import Decoding, generate
from ptst_pl.model import load_model
from ptst_pl.model.hidden_states import answer_states
from ptst_pl.results.records import Generation
from ptst_pl.ship.nudge.command import main as nudge_train
from ptst_pl.ship.nudge.learning import choose
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

WIDTH, LONGEST = 32, 14


def scorer(seed=0, shift=0.0, questions=()):
    rng = np.random.default_rng(seed)
    layers = [(np.float32(rng.normal(size=(WIDTH, 1)) * 0.2), np.float32([shift]))]
    return AnswerScorer(
        np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32), layers, frozenset(questions), {"f1": 1}
    )


@pytest.fixture(scope="module")
def served(world: World):
    """Answers of the small model to six prompts, greedy and sampled, and what a defence works with."""
    folder = str(world.folder / "model")
    model, encoder = load_model(folder, "float32"), TemplateTokenizer(load_tokenizer(folder), "llama2")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter.data, std=0.3, generator=torch.Generator().manual_seed(1))

    def make(temperature: float, backend: str = "auto"):
        decoding = Decoding(max_new_tokens=LONGEST, temperature=temperature, backend=backend)
        prompts = [[0, *encoder.tokenizer(f"Name {n} fruits", add_special_tokens=False)["input_ids"]] for n in range(6)]
        answers = generate(model, prompts, [1], encoder.pad_id, decoding)

        def record(number):
            def again(answer):
                text = encoder.tokenizer.decode(answer.ids)
                return Generation(
                    "s", str(number), "", f"q{number}", "chat:llama", "p", text, answer.finish_reason, 3, {}
                )

            return again

        bare = [
            Bare(record(n)(a), p, a, record(n), (1,)) for n, (p, a) in enumerate(zip(prompts, answers, strict=True))
        ]
        return bare, Served(model, decoding, lambda: contextlib.nullcontext(model), encoder, {})

    return make


def nudger(tmp_path, threshold, made=None, **more):
    (made or scorer()).save(tmp_path / "nudge.npz")
    return build_serving(
        {"name": "safenudge", "classifier": str(tmp_path / "nudge.npz"), "threshold": threshold, **more}
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_above_one_nothing_happens(served, tmp_path, temperature):
    bare, world = served(temperature)
    shown, facts = nudger(tmp_path, 1.5).answers(bare, world)
    assert [one.answer for one in shown] == [one.record.answer for one in bare]
    assert not any(fact["flagged"] or fact["tokens"] for fact in facts)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("backend", ["engine", "hf"])
def test_what_follows_is_what_generate_gives_in_that_context(served, tmp_path, temperature, backend):
    """Every prefix is asked for on its own, token by token, as a loop of the paper's kind would."""
    bare, world = served(temperature, backend)
    _, asked = nudger(tmp_path, 1.5).answers(bare, world)
    tau = float(np.median([1 - fact["score"] for fact in asked]))
    nudge = nudger(tmp_path, tau)
    shown, facts = nudge.answers(bare, world)
    told = world.encoder.tokenizer(nudge.nudge, add_special_tokens=False)["input_ids"]
    assert {True, False} == {fact["flagged"] for fact in facts}, "some are nudged, some are not"
    for one, new, fact in zip(bare, shown, facts, strict=True):
        place = None
        for tokens in range(FIRST, len(one.answer.ids) + 1):
            row = one.prompt + one.answer.ids[:tokens]
            (state,) = answer_states(world.model, [row], [len(row) - 1], world.encoder.pad_id)
            if scorer().probabilities(state.numpy())[0] >= tau:
                place = tokens
                break
        assert fact["at"] == place
        if place is None or place == LONGEST:
            assert new.answer == one.record.answer
            continue
        start = one.answer.ids[:place]
        context = one.prompt + start + told + start
        (end,) = generate(world.model, [context], [1], world.encoder.pad_id, world.decoding, lengths=[LONGEST - place])
        assert new.answer == world.encoder.tokenizer.decode(start + end.ids)
        assert fact["tokens"] == len(told) + len(start) + len(end.ids)
        assert nudge.nudge.strip() not in new.answer
        assert len(start + end.ids) <= LONGEST


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threshold=st.floats(0.01, 1.2), every=st.integers(1, 4), seed=st.integers(0, 5))
def test_at_most_one_nudge_never_before_the_fifth_token(served, tmp_path, threshold, every, seed):
    bare, world = served(0.0)
    shown, facts = nudger(tmp_path, threshold, scorer(seed), every=every).answers(bare, world)
    for one, new, fact in zip(bare, shown, facts, strict=True):
        assert fact["flagged"] == (fact["at"] is not None)
        if fact["flagged"]:
            assert fact["at"] >= FIRST
            assert (fact["at"] - FIRST) % every == 0
            kept = world.encoder.tokenizer.decode(one.answer.ids[: fact["at"]])
            assert new.answer.startswith(kept), "what was visible stays visible"


def test_prompts_that_the_classifier_knows_are_said_to_be_known(served, tmp_path, caplog):
    bare, world = served(0.0)
    _, facts = nudger(tmp_path, 0.5, scorer(questions=[key_of("q0"), key_of("q4")])).answers(bare, world)
    assert [fact["trained_on"] for fact in facts] == [n in (0, 4) for n in range(6)]
    assert "trained on answers to 2 of s's 6 prompts" in caplog.text


def test_a_judge_may_read_along_instead(served, monkeypatch):
    """It reads the text so far, every third token; its score counts where it is a share, else its word."""
    bare, world = served(0.0)
    guard = build_serving({"name": "safenudge", "guard": "refusal", "every": 3})
    read = []

    def verdicts(records):
        read.extend(record.answer for record in records)
        told = [int(record.prompt_id) % 2 == 0 and len(record.answer) > 8 for record in records]
        return [SimpleNamespace(score=0.7 if yes else 0.1, harmful=None) for yes in told]

    monkeypatch.setattr(guard._judge, "verdicts", verdicts)
    shown, facts = guard.answers(bare, world)
    assert len(shown) == len(facts) == len(bare)
    assert {fact["at"] for fact in facts} <= {None, *range(FIRST, LONGEST + 1, 3)}
    assert [fact["flagged"] for fact in facts] == [n % 2 == 0 for n in range(6)]
    assert {fact["score"] for fact in facts} == {0.3, 0.9}
    texts = [world.encoder.tokenizer.decode(bare[0].answer.ids[:n]) for n in range(FIRST, LONGEST + 1, 3)]
    assert read[: len(texts)] == texts


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "give classifier, a file of ptst_pl nudge-train, or guard"),
        ({"classifier": "x.npz", "guard": "refusal"}, "one of them"),
        ({"classifier": "nowhere.npz"}, "nowhere.npz: no such file; ptst_pl nudge-train RUN --output nowhere.npz"),
        ({"guard": "refusal", "threshold": 0}, "threshold is 0, expected a number above 0"),
        ({"guard": "refusal", "every": 0}, "every must be at least 1"),
        ({"guard": "refusel"}, "refusal"),
    ],
)
def test_mistakes_in_a_config_are_one_line(spec, expected):
    with pytest.raises(InputError) as error:
        build_serving({"name": "safenudge", **spec})
    assert expected in str(error.value)


def test_files_that_are_none_are_told_apart(tmp_path, served):
    file = tmp_path / "nudge.npz"
    file.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match=r"is no file of ptst_pl nudge-train"):
        load_scorer(file)
    np.savez(file, something=np.zeros(3))
    with pytest.raises(InputError, match=r"is no file of ptst_pl nudge-train"):
        load_scorer(file)
    np.savez(file, told=np.array({"format": 1}, dtype=object))  # pickled
    with pytest.raises(InputError, match=r"is no file of ptst_pl nudge-train"):
        load_scorer(file)
    AnswerScorer(np.zeros(4, np.float32), np.ones(4, np.float32), [(np.ones((4, 1), np.float32), np.zeros(1))]).save(
        file
    )
    bare, world = served(0.0)
    with pytest.raises(InputError, match="is for hidden states of 4 numbers, this model has 32"):
        build_serving({"name": "safenudge", "classifier": str(file)}).answers(bare, world)


def test_the_winner_is_the_same_as_arrays_and_learns_what_there_is(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    states = np.float32(rng.normal(size=(400, 8)) * 3 + 1)
    harmful = states[:, 2] > 1
    found = choose(states, harmful, [f"q{n // 4}" for n in range(400)], folds=4)
    assert found.facts["auc"] > 0.98
    assert found.facts["folds"] == 4
    made = AnswerScorer(found.mean, found.scale, found.layers, frozenset({"a"}), found.facts)
    made.save(tmp_path / "one.npz")
    read = load_scorer(tmp_path / "one.npz")
    assert read.facts == json.loads(json.dumps(found.facts))
    assert read.questions == {"a"}
    assert np.array_equal(read.probabilities(states), made.probabilities(states))
    assert ((read.probabilities(states) >= 0.5) == harmful).mean() > 0.95
    scaled = StandardScaler().fit(states)
    plain = LogisticRegression().fit(scaled.transform(states), harmful)
    own = AnswerScorer(scaled.mean_, scaled.scale_, [(plain.coef_.T, plain.intercept_)])
    assert np.allclose(own.probabilities(states), plain.predict_proba(scaled.transform(states))[:, 1], atol=1e-5)


def test_chance_is_not_called_knowledge():
    """Folds share no question: states that only tell questions apart do not look useful."""
    rng = np.random.default_rng(1)
    questions = rng.normal(size=(60, 16)) * 4
    harmful = np.repeat(rng.random(60) < 0.5, 5)
    states = np.float32(np.repeat(questions, 5, 0) + rng.normal(size=(300, 16)) * 0.1)
    assert choose(states, harmful, [f"q{n // 5}" for n in range(300)], folds=5).facts["auc"] < 0.7


def test_from_a_run_to_the_column_beside(world: World, tmp_path, capsys):
    """nudge-train on the run's own answers, then the same fit with the defence: bare answers and weights as before."""
    own = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "2", "--safety.active", "true")
    own += ("--safety.decoding.max_new_tokens", "12", "--safety.suites")
    fruit = {"name": "fruit", "path": str(world.folder / "suite.csv")}
    both = json.dumps([fruit, {**fruit, "name": "kind", "measures": "over-refusal"}])
    run = world.fit("nudge-source", *own, both)
    file = str(tmp_path / "nudge.npz")
    main(["nudge-train", str(run), "--output", file, "--folds", "2", "--per-answer", "3"])
    said = capsys.readouterr().out
    assert f"wrote {file}" in said
    made = load_scorer(Path(file))
    assert made.width == WIDTH
    assert made.facts["answers"] == 10
    assert made.facts["harmful_answers"] == 5
    assert len(made.questions) == 5
    scorer().save(tmp_path / "nudge.npz")
    served = ("--safety.defence", json.dumps({"name": "safenudge", "classifier": file}))
    nudged = world.fit("nudged", *own, both, *served)
    plain, more = (lines(folder / "safety/generations.jsonl") for folder in (run, nudged))
    assert [row for row in more if not row["template"].startswith("safenudge:")] == plain
    assert len(more) == 2 * len(plain)
    facts = lines(nudged / "safety/served.jsonl")
    assert len(facts) == len(plain)
    stored = json.loads((nudged / "safety/results.json").read_text())
    assert stored["serving_defence"]["classifier_facts"] == {"f1": 1}
    times = json.loads((nudged / "times.json").read_text())["fits"][0]["seconds"]
    assert times["serving"] > 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere", "--output", "x.npz"], "nudge-train: nowhere"),
        (["RUN", "--output", "x.pkl"], "expected a name that ends in .npz"),
        (["RUN", "--output", "x.npz", "--suites", "none"], "no answers to 'none' at step"),
        (["RUN", "--output", "x.npz", "--judge", "none"], "no verdicts of none"),
    ],
)
def test_mistakes_of_the_command_are_one_line(world: World, words, expected):
    run = world.folder / "runs/nudge-source/version_0"
    with pytest.raises(InputError) as error:
        nudge_train(["nudge-train", *(str(run) if word == "RUN" else word for word in words)])
    assert expected in str(error.value)
