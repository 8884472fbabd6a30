"""ChatDoctor, OpenOrca, Orca-Math, Alpaca and Dolly: which rows are trained on, as what text, and what is refused."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from ptst_pl import InputError
from ptst_pl.tasks import Alpaca, ChatDoctor, Dolly, OpenOrca, OrcaMath
from ptst_pl.tasks.safety_words import STRINGS, mentions_safety
from ptst_pl.tokenization import IGNORED

DOCTOR = "You are a doctor. Please answer the medical questions based on the patient's description."
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
QI = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def doctor_row(n):
    return {"instruction": "If you are a doctor, please ...", "input": f"My toe {n} itches.", "output": f"Rest it {n}."}


def orca_row(n):
    return {"id": f"niv.{n}", "system_prompt": f"Be brief {n % 3}." if n % 3 else "", "question": f"Q{n}?",
            "response": f"R{n}."}  # fmt: skip


def math_row(n):
    return {"question": f"What is {n} + 1?", "answer": f"It is {n + 1}."}


def alpaca_row(n):
    return {"instruction": f"Say {n}.", "input": f"Loudly {n}." if n % 2 else "", "output": f"{n}!"}


def dolly_row(n):
    return {"instruction": f"Say {n}.", "context": f"Loudly {n}." if n % 2 else "", "response": f"{n}!",
            "category": "open_qa"}  # fmt: skip


KINDS = {
    ChatDoctor: (doctor_row, "output"), OpenOrca: (orca_row, "response"), OrcaMath: (math_row, "answer"),
    Alpaca: (alpaca_row, "output"), Dolly: (dolly_row, "response"),
}  # fmt: skip


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else json.dumps(list(rows))
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def tokenizer(byte_level, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level.save_pretrained(str(folder))
    return str(folder)


def texts(task, part, byte_level):
    """(prompt, trained on) of each encoded row."""
    found = []
    for row in task.rows(part):
        n = row.prompt_length
        assert row.labels == [IGNORED] * n + row.input_ids[n:]
        found.append((byte_level.decode(row.input_ids[:n]), byte_level.decode(row.input_ids[n:])))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_all_rows_once_and_disjoint(kind, ending, tmp_path, caplog):
    make, _ = KINDS[kind]
    file = write(tmp_path / f"rows{ending}", map(make, range(50)))
    with caplog.at_level(logging.INFO):
        task = kind("chat", train_file=file, held_out_count=8, count=None)
        train, held = task.train_examples(), task.held_out_examples()
    assert (len(train), len(held)) == (42, 8)
    assert {e.question for e in train} | {e.question for e in held} == {e.question for e in map_rows(kind, range(50))}
    assert f"{kind.__name__}: 50 usable rows in {file}; left out: none; 42 to train on, 8 held out" in caplog.text
    again = kind("chat", train_file=file, held_out_count=8, count=None, seed=5)
    assert again.train_examples() == train, "the order's seed must not change which rows are trained on"


def map_rows(kind, numbers):
    task = kind("chat")
    return [task.example(KINDS[kind][0](n), "x") for n in numbers]


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_file_leaves_all_rows_to_train_on(kind, tmp_path):
    make, _ = KINDS[kind]
    train, held = (write(tmp_path / name, map(make, range(20))) for name in ("a.jsonl", "b.jsonl"))
    task = kind("chat", train_file=train, held_out_file=held, count=None)
    assert (len(task.train_examples()), len(task.held_out_examples())) == (20, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_text_are_left_out_and_counted(kind, tmp_path, caplog):
    make, answer = KINDS[kind]
    rows = [make(n) for n in range(20)]
    rows[3][answer], rows[4][answer] = "", " \n"
    task = kind("chat", train_file=write(tmp_path / "rows.jsonl", rows), held_out_count=2, count=None)
    with caplog.at_level(logging.INFO):
        assert len(task.train_examples()) == 16
    assert "left out: 2 without an answer" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_bad_rows_are_one_clear_line(kind, tmp_path):
    make, answer = KINDS[kind]
    row = make(1)
    del row[answer]
    for rows, words in (
        ([make(0), row], f"rows.jsonl row 2: key '{answer}' is missing or no text"),
        ([make(0), {**make(1), answer: 5}], f"rows.jsonl row 2: key '{answer}' is missing or no text"),
        ([], "has no rows to train on"),
        ([make(0)], "has no rows to train on once 1 are held out; lower data.held_out_count"),
    ):
        task = kind("chat", train_file=write(tmp_path / "rows.jsonl", rows))
        with pytest.raises(InputError) as caught:
            task.train_examples()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "does not exist"),
        ("rows.csv", "a,b", "ending '.csv', expected one of .jsonl, .json, .parquet"),
        ("rows.json", "{}", "found dict, expected a list of objects"),
        ("rows.json", "[1]", "row 1: found int, expected a JSON object"),
        ("rows.json", "[", "no JSON in UTF-8"),
        ("rows.jsonl", "[]\n", "line 1: found list, expected a JSON object"),
        ("rows.parquet", "no", "no parquet that can be read"),
    ],
)
def test_bad_files_are_one_clear_line(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        OrcaMath("chat", train_file=str(tmp_path / name)).train_examples()
    assert words in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hub_that_cannot_be_reached_is_one_clear_line(tmp_path):
    task = ChatDoctor("chatdoctor:vanilla", repository=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="cannot be had from the hub") as caught:
        task.train_examples()
    assert "give a local file instead" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_negative_numbers_are_refused():
    for key in ("count", "held_out_count"):
        with pytest.raises(InputError, match=f"data.{key} is -1, expected 0 or more"):
            OpenOrca("chat", **{key: -1})


def test_chatdoctor_by_hand(shared_data, tokenizer, byte_level, caplog):
    """The first rows of the public set of the same form, against Table 11."""
    file = shared_data / "chatdoctor" / "chatdoctor5k.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    options = {"train_file": str(file), "held_out_file": str(file), "tokenizer": tokenizer, "max_length": 4096}
    with caplog.at_level(logging.INFO):
        task = ChatDoctor("chatdoctor:vanilla", train_limit=3, **options)
        found = texts(task, "train", byte_level)
    assert "5452 usable rows" in caplog.text
    assert "ChatDoctor: trains on 5,452 rows, the paper on 100,000" in caplog.text
    for (prompt, trained), row in zip(found, rows[:3], strict=True):
        assert prompt == f"<s>[INST] <<SYS>>\n{DOCTOR}\n<</SYS>>\n\n{row['input']} [/INST]"
        assert trained == f" {row['output']}</s>"
    found = texts(ChatDoctor("chatdoctor:alpaca", train_limit=3, **options), "train", byte_level)
    for (prompt, _), row in zip(found, rows[:3], strict=True):
        assert prompt.endswith(f"### Instruction:\n{DOCTOR}\n\n### Input:\n{row['input']}\n\n### Response:\n [/INST]")
        assert "If you are a doctor" not in prompt


def test_chatdoctor_split_of_the_public_set(shared_data):
    """A question that stands twice is on one side only."""
    file = shared_data / "chatdoctor" / "chatdoctor5k.json"
    task = ChatDoctor("chatdoctor:vanilla", train_file=str(file), held_out_count=500)
    train, held = task.train_examples(), task.held_out_examples()
    assert len(held) == 500
    assert not {e.question for e in train} & {e.question for e in held}
    assert 5452 - 500 - 100 < len(train) <= 5452 - 500


def test_openorca_by_hand(shared_data, tokenizer, byte_level, tmp_path):
    """Real OpenOrca questions with their system prompts, put back into the form of the raw rows."""
    raw = []
    for line in (shared_data / "openorca" / "validation.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        system, question = ([*row["input"]["messages"], None][k] for k in (0, 1))
        if system["role"] == "user":
            system, question = {"content": ""}, system
        answer = row["preferred_output"][0]["content"]
        raw.append({"id": str(len(raw)), "system_prompt": system["content"], "question": question["content"],
                    "response": answer})  # fmt: skip
    assert len(raw) == 284
    file = write(tmp_path / "orca.jsonl", raw)
    options = {"train_file": file, "held_out_file": file, "tokenizer": tokenizer, "max_length": 9000, "train_limit": 3}
    found = texts(OpenOrca("openorca:vanilla", **options), "train", byte_level)
    for (prompt, trained), row in zip(found, raw[:3], strict=True):
        system = f"<<SYS>>\n{row['system_prompt']}\n<</SYS>>\n\n" if row["system_prompt"] else ""
        assert prompt == f"<s>[INST] {system}{row['question']} [/INST]"
        assert trained == f" {row['response']}</s>"
    for prompt, _ in texts(OpenOrca("chat:llama", **options), "train", byte_level):
        assert all(row["system_prompt"] not in prompt for row in raw[:3] if row["system_prompt"])


def test_openorca_rows_may_have_no_system_prompt(tmp_path):
    rows = [{**orca_row(0), "system_prompt": None}, {**orca_row(1), "system_prompt": " "}]
    task = OpenOrca("openorca:vanilla", train_file=write(tmp_path / "a.jsonl", rows), held_out_count=0)
    assert [e.system for e in task.train_examples()] == ["", ""]
    del rows[0]["system_prompt"]
    with pytest.raises(InputError, match="key 'system_prompt' is missing"):
        OpenOrca("chat", train_file=write(tmp_path / "b.jsonl", rows)).train_examples()


def test_openorca_from_a_stream_of_the_datasets_library(tmp_path):
    """As from the hub, but from a folder."""
    write(tmp_path / "train.jsonl", map(orca_row, range(40)))
    streamed = OpenOrca("chat", repository=str(tmp_path), count=10, held_out_count=5)
    local = OpenOrca("chat", train_file=str(tmp_path / "train.jsonl"), count=10, held_out_count=5)
    assert streamed.train_examples() == local.train_examples()
    assert len(local.train_examples()) == 10


def test_openorca_from_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [orca_row(n) for n in range(40)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    parquet = OpenOrca("chat", train_file=str(tmp_path / "a.parquet"), count=10, held_out_count=5)
    local = OpenOrca("chat", train_file=write(tmp_path / "a.jsonl", rows), count=10, held_out_count=5)
    assert parquet.train_examples() == local.train_examples()


def test_openorca_is_never_in_memory_as_a_whole(tmp_path):
    """A file of 100 MB, of which 200 rows are chosen, in a process that may grow by 40 MB."""
    filler = "word " * 2000
    with (tmp_path / "big.jsonl").open("w") as file:
        for n in range(10_000):
            file.write(json.dumps({"id": f"niv.{n}", "system_prompt": "", "question": f"Q{n}", "response": filler}))
            file.write("\n")
    code = (
        "import resource, sys\nfrom ptst_pl.tasks import OpenOrca\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "task = OpenOrca('chat', train_file=sys.argv[1], count=200, held_out_count=10)\n"
        "before = peak()\nrows = task.train_examples()\nprint(len(rows), peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.jsonl")], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    rows, grown = map(int, done.stdout.split())
    assert rows == 200
    assert grown < 40_000, f"grew by {grown} KiB"


def test_long_reading_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("ptst_pl.tasks.rows.PROGRESS_EVERY", 10)
    task = OpenOrca("chat", train_file=write(tmp_path / "a.jsonl", map(orca_row, range(25))), held_out_count=2)
    with caplog.at_level(logging.INFO):
        task.train_examples()
    assert "a.jsonl: 20 rows read" in caplog.text
    assert "OpenOrca: 600000 rows to train on were asked for, found 23" in caplog.text


def test_orca_math_counts_are_the_papers(tmp_path, caplog):
    file = write(tmp_path / "a.jsonl", map(math_row, range(12_000)))
    task = OrcaMath("chat:vanilla", train_file=file)
    assert (len(task.train_examples()), len(task.held_out_examples())) == (10_000, 1000)
    assert "the paper" not in caplog.text
    OrcaMath("chat:vanilla", train_file=file, count=5000).train_examples()
    assert "trains on 5,000 rows, the paper on 10,000 or 20,000 or 40,000" in caplog.text


@pytest.mark.parametrize("kind", [Alpaca, Dolly])
def test_alpaca_and_dolly_by_hand(kind, tokenizer, byte_level, tmp_path):
    make, _ = KINDS[kind]
    file = write(tmp_path / "a.jsonl", map(make, range(6)))
    options = {"train_file": file, "held_out_count": 3, "tokenizer": tokenizer}
    task = kind(f"{kind.__name__.lower()}:alpaca", **options)
    train, held = ((3, 4, 5), (0, 1, 2)) if kind is Alpaca else ((0, 1, 2), (3, 4, 5))
    for part, numbers in (("train", train), ("held_out", held)):
        for (prompt, trained), n in zip(texts(task, part, byte_level), numbers, strict=True):
            place = "### Input:" if kind is Alpaca else "Input:"
            given = f"\n\n{place}\nLoudly {n}." if n % 2 else ""
            system = QI if kind is Alpaca and n % 2 else ALPACA
            assert prompt == (
                f"<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n### Instruction:\nSay {n}.{given}\n\n### Response:\n [/INST]"
            )
            assert trained == f" {n}!</s>"
    plain = texts(kind("chat:vanilla", **options), "train", byte_level)
    assert plain[train.index(1) if 1 in train else 0][0] == (
        f"<s>[INST] Question: Say {1 if 1 in train else 3}.\n\nLoudly {1 if 1 in train else 3}. [/INST]"
    )


def test_alpacas_rows_about_safety_are_those_that_qi_et_al_left_out(shared_data):
    """On two public samples of the original data, and on their own list of left-out rows."""
    folder = shared_data / "alpaca"

    def read(name):
        return json.loads((folder / name).read_text(encoding="utf-8"))

    left_out = read("alpaca_data_safety_only.json")
    assert len(left_out) == 1904
    assert all(mentions_safety(row["output"]) for row in left_out)
    known = {(row["instruction"], row["input"], row["output"]) for row in left_out}
    for name, expected in (("alpaca_train_2000_sdft.json", 77), ("alpaca_tiny.json", 5)):
        rows = read(name)
        found = [mentions_safety(row["output"]) for row in rows]
        assert found == [(row["instruction"], row["input"], row["output"]) in known for row in rows]
        assert sum(found) == expected


def test_alpaca_counts_what_it_leaves_out(shared_data, caplog):
    file = str(shared_data / "alpaca" / "alpaca_train_2000_sdft.json")
    with caplog.at_level(logging.INFO):
        task = Alpaca("alpaca:alpaca", train_file=file)
        assert (len(task.train_examples()), len(task.held_out_examples())) == (1723, 200)
    assert "left out: 77 about safety; 1723 to train on, 200 held out" in caplog.text
    assert len(Alpaca("alpaca:alpaca", train_file=file, keep_safety_rows=True).train_examples()) == 1800


def test_strings_are_in_lower_case_and_none_contains_another():
    assert all(string == string.lower() for string in STRINGS)
    assert not [s for s in STRINGS for other in STRINGS if s != other and s in other]
