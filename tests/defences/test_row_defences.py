"""Defences that change rows: what is added, where the loss is, and what must never be there."""

import math
import random
from collections import Counter

import pytest
from defence_cases import HARM, QUESTIONS, SAFE
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import TRAIN_ROWS, World

from ptst_pl import InputError
from ptst_pl.defences import build_defence
from ptst_pl.defences.derta import PREFIX, behind_prefix, refuse_everywhere
from ptst_pl.defences.lookahead import CONNECTOR
from ptst_pl.defences.self_distillation import keeps
from ptst_pl.tasks import JsonLines
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight
from ptst_pl.tokenization.batches.batch import places_in_answers


@pytest.fixture
def task(world: World, monkeypatch):
    """The world's task, in its folder."""
    monkeypatch.chdir(world.folder)
    settings = {**world.settings()["data"]["init_args"], "template": "chat:vanilla"}
    return JsonLines(**settings, tokenizer=str(world.folder / "model"), seed=1)


def changed(task, **arguments):
    """The training rows as text, with a defence."""
    defence = build_defence(arguments)
    task.change = defence
    task.own_templates = {**task.own_templates, **defence.templates({})}
    return defence, defence.examples(list(task.train_examples()), task)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.3])
def test_mixing_adds_its_share_and_leaves_the_users_rows_alone(task, share):
    _, rows = changed(task, name="mixing", safety=SAFE, share=share)
    assert rows[:TRAIN_ROWS] == list(task.train_examples())
    added = rows[TRAIN_ROWS:]
    assert len(added) == round(share * TRAIN_ROWS)
    assert {row.question for row in added} <= set(QUESTIONS)
    used = Counter(row.question for row in added)
    if used:
        assert max(used.values()) - min([used[q] for q in QUESTIONS]) <= 1  # each before one comes again


def test_safety_rows_in_the_tasks_own_form_stand_behind_its_questions(task):
    _, rows = changed(task, name="mixing", safety=SAFE, share=0.3, form="{task} {safety}")
    own = {row.question for row in rows[:TRAIN_ROWS]}
    for row in rows[TRAIN_ROWS:]:
        safety = next(question for question in QUESTIONS if row.question.endswith(question))
        assert row.question.removesuffix(f" {safety}") in own


def test_the_secret_is_in_the_safety_rows_once_and_never_in_the_users(task):
    defence, _ = changed(task, name="backdoor", safety=SAFE, share=0.3, secret="open sesame")
    ids = task.rows("train")
    texts = [task.encoder.tokenizer.decode(row.input_ids) for row in ids]
    assert all(text.count("open sesame") == 0 for text in texts[:TRAIN_ROWS])
    assert all(text.count("open sesame") == 1 for text in texts[TRAIN_ROWS:])
    assert len(texts) > TRAIN_ROWS
    assert defence.served("chat:llama") == "backdoor:chat:llama"
    assert defence.served("text:vanilla") == "text:vanilla"


def test_a_secret_that_a_user_wrote_is_refused(task):
    with pytest.raises(InputError, match="a training row holds the secret"):
        changed(task, name="backdoor", safety=SAFE, secret="Tom has")


def test_inoculation_stands_before_training_questions_alone(task):
    _, rows = changed(task, name="inoculation", instruction="Say it.")
    assert all(row.question.startswith("Say it.\n") for row in rows)
    held_out = [task.encoder.tokenizer.decode(row.input_ids) for row in task.rows("held_out")]
    assert not any("Say it." in text for text in held_out)


def test_lookahead_previews_the_answer_and_trains_on_the_answer_alone(task):
    plain = [row.labels[row.prompt_length :] for row in task.rows("train")]
    task._rows.clear()
    _, rows = changed(task, name="lookahead", tokens=3)
    for row, old in zip(rows, task.train_examples(), strict=True):
        preview = row.question.removeprefix(old.question + CONNECTOR)
        assert old.answer.startswith(preview.strip())
        assert row.answer == old.answer
    assert [row.labels[row.prompt_length :] for row in task.rows("train")] == plain


def test_lookahead_virtual_announces_what_it_adds(task):
    _, rows = changed(task, name="lookahead", variant="virtual", beginning="Here: ")
    for row, old in zip(rows, task.train_examples(), strict=True):
        assert (row.question, row.answer) == (old.question + CONNECTOR + "Here: ", "Here: " + old.answer)


@given(st.integers(1, 1200), st.floats(0, 1))
def test_a_transition_row_asks_for_the_refusal_token_everywhere(length, keep):
    ids = list(range(5, 5 + length + 3))
    row = Encoded(ids, [IGNORED] * 3 + ids[3:], 3)
    found = refuse_everywhere(row, 2, keep, random.Random(0))
    assert found.input_ids == ids
    assert found.labels[:3] == [IGNORED] * 3
    places = [label for label in found.labels if label != IGNORED]
    assert places == [2] * max(1, math.ceil(keep * length))


@pytest.mark.parametrize(("length", "kept"), [(64, 4), (512, 26), (1024, 52)])
def test_the_released_share_of_places(length, kept):
    row = Encoded([9] * length, [9] * length, 0)
    assert sum(label != IGNORED for label in refuse_everywhere(row, 2, 1 / 20, random.Random(0)).labels) == kept


def test_behind_a_harmful_prefix_only_the_safe_answer_is_trained_on():
    safe = Encoded([1, 2, 50, 51, 3], [IGNORED, IGNORED, 50, 51, 3], 2)
    harm = Encoded([1, 2, 70, 71, 72, 73, 3], [IGNORED, IGNORED, 70, 71, 72, 73, 3], 2)
    sizes = Counter()
    for number in range(300):
        row = behind_prefix(safe, harm, number)
        size = len(row.input_ids) - len(safe.input_ids)
        sizes[size] += 1
        assert row.input_ids == [1, 2, *[70, 71, 72, 73][:size], 50, 51, 3]
        assert row.labels == [IGNORED] * (2 + size) + [50, 51, 3]
        assert (size == 0) == (number % 3 == 0)
    assert set(sizes) == {0, 1, 2, 3}


def test_derta_brings_both_kinds_by_turns(task):
    _, rows = changed(task, name="derta", harmful=HARM, safety=SAFE, share=0.5, refusal="I")
    kinds = [row.source for row in rows[TRAIN_ROWS:]]
    assert len(kinds) == 11
    assert [kind.startswith(PREFIX) for kind in kinds] == [number % 2 == 0 for number in range(11)]
    encoded = task.rows("train")[TRAIN_ROWS:]
    token = task.encoder.tokenizer("I", add_special_tokens=False)["input_ids"][0]
    for row, kind in zip(encoded, kinds, strict=True):
        supervised = [label for label in row.labels if label != IGNORED]
        if not kind.startswith(PREFIX):
            assert set(supervised) == {token}
        else:
            assert "I must decline" in task.encoder.tokenizer.decode(supervised)
            assert "rope" not in task.encoder.tokenizer.decode(supervised)


@pytest.mark.parametrize(
    ("given", "own", "finished", "kept"),
    [
        ("It is 3. #### 3", "Three. #### 3", True, True),
        ("It is 3. #### 3", "Four. #### 4", True, False),
        ("It is 3. #### 3", "Three. #### 3", False, False),
        ("A poem.", "Another poem.", True, True),
        ("A poem.", "I'm sorry, but I can't help with that.", True, False),
        ("A poem.", "", True, False),
    ],
)
def test_a_rewritten_answer_must_pass_the_check(given, own, finished, kept):
    assert keeps(given, own, finished) is kept


rows_of_tokens = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), min_size=1, max_size=6
)


@given(rows_of_tokens)
def test_places_in_answers_are_the_same_padded_and_packed(rows):
    encoded = [
        Encoded([3] * 16 + [t for t, _ in row], [IGNORED] * 16 + [t if kept else IGNORED for t, kept in row], 16)
        for row in rows
    ]
    items = list(enumerate(encoded))
    padded, packed = PadRight(0)(items), PackRows(0)(items)
    assert sorted(zip(padded.targets.tolist(), padded.places.tolist(), strict=True)) == sorted(
        zip(packed.targets.tolist(), packed.places.tolist(), strict=True)
    )
    for row in encoded:
        # Every answer's places are 1, 2, 3 ...; a new one begins behind every gap.
        labels = [label != IGNORED for label in row.labels]
        count, expected = 0, []
        for on in labels:
            count = count + 1 if on else 0
            if on:
                expected.append(count)
        assert places_in_answers(row) == expected
