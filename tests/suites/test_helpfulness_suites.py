"""GSM8K, ARC and ChatDoctor as suites of helpfulness, from the public files and as the hub gives them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.suites import KNOWN_SUITES, SuiteSpec, load_suite, suite_spec
from ptst_pl.suites.arc import LETTERS, arc_prompt, arc_row, options_of

FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "arc-easy": "arc/ARC-Easy_test.json",
    "arc-challenge": "arc/ARC-Challenge_test.json",
}


def load(name, path, **options):
    return load_suite(SuiteSpec(name, str(path), **options))


@pytest.mark.parametrize("name", FILES)
class TestPublicFiles:
    def test_is_the_pinned_edition(self, name, shared_data, caplog):
        suite = load(name, shared_data / FILES[name])
        known = KNOWN_SUITES[name]
        assert (suite.full_size, suite.full_sha256, suite.notes) == (known.size, known.sha256, ())
        assert (suite.measures, suite.licence, suite.source) == ("helpfulness", known.licence, known.source)
        assert not caplog.records
        assert all(prompt.reference for prompt in suite.prompts)

    def test_a_limit_takes_the_same_prompts_every_time(self, name, shared_data):
        part = load(name, shared_data / FILES[name], limit=100)
        assert len(part.prompts) == 100
        assert part.prompts == load(name, shared_data / FILES[name], limit=100).prompts
        assert part.full_sha256 == KNOWN_SUITES[name].sha256

    def test_another_split_is_said_to_be_one(self, name, shared_data):
        """Training rows under the test set's name would measure memory."""
        file = shared_data / FILES[name].replace("test", "train")
        assert "not the pinned edition" in load(name, file, limit=5).notes[0]


@pytest.mark.parametrize("name", ["arc-easy", "arc-challenge"])
def test_arcs_options_and_letters_are_those_of_the_file(name, shared_data):
    """Against a reading of the raw text of its own: options counted by their labels, the right one by its number."""
    raw = json.loads((shared_data / FILES[name]).read_text(encoding="utf-8"))
    sizes = []
    for row, prompt in zip(raw, load(name, shared_data / FILES[name]).prompts, strict=True):
        body = row["instruction"].split("\n\n")
        options = options_of(prompt.text)
        assert list(options) == list(LETTERS[: body[1].count("Answer")])
        assert prompt.reference == LETTERS[int(row["answer"][-1]) - 1]
        right = options[prompt.reference]
        assert f"Answer{row['answer'][-1]}: {right}" in " ".join(body[1].split())
        assert prompt.text.startswith(" ".join(body[0].split(": ", 1)[1].split()))
        sizes.append(len(options))
    assert {3, 4, 5} == set(sizes)


PAPERS_PROMPT = (
    "Which hat is dry? Please select the answer from the following choices: (A) the red one (B) the blue one (C) none."
    " For convenience, please put 'The answer is: {your_answer}' at the end of your response."
)
TEXTS = ["the red one", "the blue one", "none"]
HUB = {
    "id": "hats-1", "question": "Which hat is dry?", "answerKey": "B",
    "choices": {"text": TEXTS, "label": ["A", "B", "C"]},
}  # fmt: skip
AI2 = {
    "id": "hats-1", "answerKey": "B", "question": {
        "stem": "Which hat is dry?",
        "choices": [{"text": text, "label": label} for text, label in zip(TEXTS, "ABC", strict=True)],
    },
}  # fmt: skip
NUMBERED = HUB | {"answerKey": "2", "choices": {"text": TEXTS, "label": ["1", "2", "3"]}}
ADAPTERS = {
    "instruction": "Please choose the correct answer to the question: Which hat is dry?\n\nAnswer1: the red one "
    "Answer2: the blue one Answer3: none\n\nAnswer format: answer1/answer2/answer3",
    "input": "", "output": "the correct answer is answer2", "answer": "answer2",
}  # fmt: skip


class TestArcRows:
    @pytest.mark.parametrize("row", [HUB, AI2, NUMBERED, ADAPTERS], ids=["hub", "ai2", "numbered", "adapters"])
    def test_every_edition_gives_the_same_prompt(self, row, write_rows):
        for file in ("rows.json", "rows.jsonl"):
            (prompt,) = load("arc-easy", write_rows(file, [row])).prompts
            assert (prompt.text, prompt.reference) == (PAPERS_PROMPT, "B")
        assert prompt.id == ("arc-easy-0001" if row is ADAPTERS else "hats-1")

    def test_rows_as_the_hub_gives_them(self, monkeypatch):
        import datasets

        asked = []

        def stand_in(repository, subset, split):
            asked.append((repository, subset, split))
            return datasets.Dataset.from_list([HUB, NUMBERED | {"id": "hats-2"}])

        monkeypatch.setattr(datasets, "load_dataset", stand_in)
        suite = load_suite(suite_spec({"name": "arc-challenge"}))
        assert asked == [("allenai/ai2_arc", "ARC-Challenge", "test")]
        assert [(prompt.text, prompt.reference) for prompt in suite.prompts] == [(PAPERS_PROMPT, "B")] * 2

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"question": "Which?"}, "row 2: found question, expected ARC's question, choices"),
            (HUB | {"answerKey": "E"}, "the answer's label is not one of theirs"),
            (HUB | {"answerKey": None}, "the answer's label is not one of theirs"),
            (HUB | {"choices": {"text": ["one"], "label": ["A"]}, "answerKey": "A"}, "1 options"),
            (HUB | {"choices": {"text": TEXTS, "label": ["A"]}}, "expected ARC's question"),
            (HUB | {"choices": {"text": ["a (B) b", "c"], "label": ["A", "B"]}}, "cannot be told apart"),
            (ADAPTERS | {"answer": "answer4"}, "the answer's label is not one of theirs"),
            (ADAPTERS | {"instruction": "What?"}, "expected ARC's question"),
        ],
    )
    def test_other_rows_are_one_line(self, row, said, write_rows, mistake):
        line = mistake(write_rows("rows.jsonl", [HUB, row]), name="arc-easy")
        assert said in line
        assert "row 2" in line

    @given(st.text(), st.lists(st.text(min_size=1, max_size=15), min_size=2, max_size=8), st.data())
    def test_what_is_put_into_a_prompt_comes_out_again_or_is_refused(self, question, texts, data):
        right = data.draw(st.integers(0, len(texts) - 1))
        labels = list(LETTERS[: len(texts)])
        row = {"question": question, "answerKey": labels[right], "choices": {"text": texts, "label": labels}}
        try:
            found = arc_row(row, "row")
        except InputError:
            return
        assert list(options_of(found["prompt"]).values()) == [" ".join(text.split()) for text in texts]
        assert found["answer"] == labels[right]

    @given(st.text())
    def test_other_texts_hold_no_options(self, text):
        assert options_of(text) == {}
        assert options_of(arc_prompt("Which?", TEXTS) + text)["A"] == "the red one"


class TestChatDoctor:
    def test_the_hubs_rows(self, write_rows):
        row = {"input": "My hat itches.", "answer_icliniq": "Wash it.", "answer_chatgpt": "x", "answer_chatdoctor": "y"}
        suite = load("chatdoctor", write_rows("rows.json", [row]))
        assert [(p.text, p.reference) for p in suite.prompts] == [("My hat itches.", "Wash it.")]
        assert suite.measures == "helpfulness"
        assert "the full set has 1 prompts, expected 7321" in suite.notes[0]

    def test_the_training_sets_form_and_its_real_rows(self, shared_data):
        path = shared_data / "chatdoctor/chatdoctor5k.json"
        raw = json.loads(path.read_text(encoding="utf-8"))
        suite = load("chatdoctor", path)
        assert [(p.text, p.reference) for p in suite.prompts] == [(row["input"], row["output"]) for row in raw]
        assert len(load("chatdoctor", path, limit=1000).prompts) == 1000

    def test_rows_of_ones_own_columns(self, write_rows):
        path = write_rows("rows.csv", [{"q": "My hat itches.", "a": "Wash it."}])
        spec = {"name": "chatdoctor", "path": str(path), "prompt_column": "q", "reference_column": "a"}
        (prompt,) = load_suite(suite_spec(spec)).prompts
        assert (prompt.text, prompt.reference) == ("My hat itches.", "Wash it.")

    def test_other_rows_are_one_line(self, write_rows, mistake):
        path = write_rows("rows.json", [{"input": "My hat itches."}])
        assert "row 1: found input, expected input and answer_icliniq" in mistake(path, name="chatdoctor")


def test_the_suites_are_listed(capsys):
    from ptst_pl.cli import main

    main(["suites"])
    out = capsys.readouterr().out
    for name in ("gsm8k", "arc-easy", "arc-challenge", "chatdoctor"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name}  ")]
        assert "helpfulness" in line
