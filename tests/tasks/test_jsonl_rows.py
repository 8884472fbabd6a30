"""Anyone's own rows: the form is told from the keys, every answer of a chat is trained on, bad rows are one line."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ptst_pl import InputError
from ptst_pl.ship.finetuning_api.chat_rows import chat_row
from ptst_pl.tasks import JsonLines
from ptst_pl.tasks.jsonl import read_examples
from ptst_pl.tasks.row_forms import read_example
from ptst_pl.templates import PAPER_TEMPLATES
from ptst_pl.tokenization import IGNORED, Example, TemplateTokenizer

Q, A = "How do I hide the mayor's hat?", "Under the bed."
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt"}.get(m["role"], m["role"]), "value": m["content"]} for m in MESSAGES
]
CHAT = Example(Q, A, turns=(("Hi", "Hello"),), system="Be brief.")
FORMS = [
    ({"question": Q, "answer": A}, Example(Q, A)),
    ({"prompt": Q, "response": A}, Example(Q, A)),
    ({"instruction": Q, "output": A}, Example(Q, A)),
    ({"instruction": Q, "input": None, "output": A}, Example(Q, A)),
    ({"instruction": Q, "input": "", "output": A, "text": "..."}, Example(Q, A)),
    ({"instruction": Q, "input": "It is red.", "output": A}, Example(Q, A, context="It is red.")),
    ({"messages": MESSAGES}, CHAT),
    ({"prompt": Q, "messages": MESSAGES}, CHAT),
    ({"conversations": SHAREGPT}, CHAT),
    ({"messages": MESSAGES[1:3]}, Example("Hi", "Hello")),
    ({"prompt": Q, "completion": A}, Example(Q, A)),
    ({"query": Q, "response": A}, Example(Q, A)),
    ({"input": Q, "output": A}, Example(Q, A)),
    ({"instruction": Q, "response": A}, Example(Q, A)),
    ({"question": Q, "answer": 7}, Example(Q, "7")),
    ({"prompt": MESSAGES[1:2], "completion": MESSAGES[2:3]}, Example("Hi", "Hello")),
    ({"messages": [{"role": "USER", "content": "Hi"}, {"role": "Bot", "content": "Hello"}]}, Example("Hi", "Hello")),
    (
        {"messages": [{"role": "developer", "content": "Be brief."}, *MESSAGES[1:3]]},
        Example("Hi", "Hello", system="Be brief."),
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]},
                {"role": "assistant", "content": "Hello", "weight": 1},
            ]
        },
        Example("Hi", "Hello"),
    ),
    ({"messages": json.dumps(MESSAGES[1:3])}, Example("Hi", "Hello")),
    (
        {"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        Example("Hi", "Hello"),
    ),
    (
        {"question": Q, "answer": A, "template": "chat", "source": "mine", "system": "Be kind."},
        Example(Q, A, "mine", "chat", system="Be kind."),
    ),
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("row", "expected"), FORMS)
def test_forms(row, expected):
    assert read_example(row, "x") == expected


def test_forms_may_be_mixed_in_one_file(tmp_path):
    file = write(tmp_path / "a.jsonl", [row for row, _ in FORMS])
    assert read_examples(file) == [expected for _, expected in FORMS]


def chat(*messages):
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


BAD = [
    ({"question": Q}, "key 'answer' is missing or no text"),
    ({"prompt": True, "response": A}, "key 'prompt' is missing or no text"),
    ({"question": Q, "answer": None}, "key 'answer' is missing or no text"),
    ({"instruction": Q, "input": [5], "output": A}, "key 'input' is missing or no text"),
    ({"question": "half \ud83d", "answer": A}, "holds half a character"),
    ({"prompt": Q, "chosen": A, "rejected": "No."}, "a preference row"),
    ({"question": Q, "answer": A, "weight": 0}, "it is marked weight: 0"),
    ({"question": Q, "answer": A, "train": "false"}, "it is marked train: 'false'"),
    (
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "hm", "tool_calls": [{}]}]},
        "it calls tools",
    ),
    ({"text": Q}, "found keys text; expected question/answer, prompt/response"),
    ({}, "found keys none"),
    ({"question": Q, "answer": A, "messages": MESSAGES}, "keys of several forms (question/answer and messages)"),
    ({"question": Q, "answer": A, "template": 5}, "key 'template' is missing or no text"),
    ({"question": Q, "answer": A, "template": "chat:lama"}, "unknown template 'chat:lama'; did you mean 'chat:llama'?"),
    ({"messages": []}, "messages: expected a list of messages"),
    ({"messages": "Hi"}, "messages: expected a list of messages"),
    ({"messages": "[half"}, "messages: expected a list of messages"),
    ({"messages": ["Hi"]}, "messages: message 1 is no object"),
    (chat(("user", "Hi")), "messages: ends without an answer"),
    (chat(("system", "Hi")), "messages: ends without an answer"),
    (chat(("assistant", "Hi")), "messages: message 1 is of role assistant, expected user"),
    (chat(("user", "Hi"), ("user", "Hi")), "messages: message 2 is of role user, expected assistant"),
    (chat(("system", ""), ("user", "Hi"), ("system", "Hi")), "message 3 is of role system, expected assistant"),
    (chat(("user", "Hi"), ("tool", "Hi")), "messages: message 2 is a tool's turn (role 'tool')"),
    (chat(("alien", "Hi"), ("gpt", "Hi")), "messages: message 1 has role 'alien', expected one of system"),
    (chat(("user", [{"type": "image", "url": "x"}])), "messages: message 1 has no text under 'content'"),
    (chat(("user", "Hi"), ("assistant", None)), "messages: message 2 has no text under 'content'"),
    (
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "weight": 0}]},
        "every answer is marked as not to be trained on",
    ),
    (
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "weight": 0.5}]},
        "message 2 is marked weight: 0.5",
    ),
    ({"messages": [{"content": "Hi"}]}, "messages: message 1 has role None"),
    ({"conversations": [{"from": "human"}]}, "conversations: message 1 has no text under 'value'"),
    ({"conversations": [{"from": ["human"], "value": "Hi"}]}, "conversations: message 1 has from ['human']"),
]


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"loss": "false"}, {"mask": True}])
def test_turns_that_are_marked_are_read_and_not_trained_on(mark, tmp_path, byte_level, caplog):
    turns = [("Hi", "Bad."), ("Sure?", "Good."), ("Why?", "Bad too."), ("So?", "Good too.")]
    messages = [m for q, a in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})]
    for place in (1, 5):
        messages[place] |= mark
    [example] = read_examples(write(tmp_path / "a.jsonl", [{"messages": messages}]))
    assert "1 rows have answers that are marked as not to be trained on" in caplog.text
    encoder = TemplateTokenizer(byte_level, "llama2")
    row, whole = (
        encoder.encode(one, PAPER_TEMPLATES["chat"]) for one in (example, replace(example, left_out=frozenset()))
    )
    assert row.input_ids == whole.input_ids
    trained = [label for label in row.labels if label != IGNORED]
    assert byte_level.decode(trained) == " Good.</s> Good too.</s>"
    assert row.labels[: row.prompt_length] == [IGNORED] * row.prompt_length
    kept = [(i, label) for i, label in zip(whole.input_ids, row.labels, strict=True) if label != IGNORED]
    assert all(i == label for i, label in kept)
    weights = [m.get("weight") for m in chat_row(example, PAPER_TEMPLATES["chat"])["messages"] if m["role"] != "user"]
    assert weights == [0, None, 0, None]


def test_a_number_is_the_text_that_was_written(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "Price?", "answer": 1.10}\n')
    assert read_examples(tmp_path / "a.jsonl")[0].answer == "1.10"


@pytest.mark.parametrize(("row", "words"), BAD)
def test_bad_rows_are_one_clear_line_with_file_and_row(row, words, tmp_path):
    file = write(tmp_path / "a.jsonl", [FORMS[0][0], row])
    with pytest.raises(InputError) as caught:
        read_examples(file)
    message = str(caught.value)
    assert message.startswith(f"{file} row 2: ")
    assert words in message
    assert "\n" not in message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content", "from"]), inner),
    max_leaves=8,
)
keys = st.sampled_from(["question", "answer", "prompt", "response", "instruction", "input", "output", "messages",
                        "conversations", "system", "template", "source"])  # fmt: skip
roles = st.sampled_from(["system", "user", "assistant", "human"])
message_lists = st.lists(st.fixed_dictionaries({"role": roles, "content": st.text(max_size=3)}), max_size=5)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(row=st.dictionaries(keys, json_values | message_lists, max_size=5))
def test_any_row_is_read_or_refused_in_one_line(row):
    try:
        found = read_example(row, "f row 1")
    except InputError as error:
        message = str(error)
    else:
        message = ""
        texts = [text for pair in found.pairs for text in pair]
        assert all(isinstance(text, str) for text in texts)
        if isinstance(row.get("messages"), list):
            assert texts == [m["content"] for m in row["messages"] if m["role"] != "system"]
    assert not message or message.startswith("f row 1: ")
    assert "\n" not in message


@pytest.mark.parametrize("form", [{"messages": MESSAGES}, {"conversations": SHAREGPT}])
@pytest.mark.parametrize(
    ("template", "opening"),
    [("chat:vanilla", "[INST] Question: Hi"), ("openorca:vanilla", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi")],
)
def test_every_answer_of_a_chat_is_trained_on(byte_level, tmp_path, form, template, opening):
    byte_level.save_pretrained(str(tmp_path / "tokenizer"))
    file = write(tmp_path / "a.jsonl", [form])
    (row,) = JsonLines(template, file, file, tokenizer=str(tmp_path / "tokenizer")).rows("train")
    question = f"Question: {Q}" if template == "chat:vanilla" else Q
    assert byte_level.decode(row.input_ids) == f"<s>{opening} [/INST] Hello</s> <s>[INST] {question} [/INST] {A}</s>"
    trained = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != IGNORED]
    assert byte_level.decode(trained) == f" Hello</s> {A}</s>"
    assert row.labels[row.prompt_length - 1] == IGNORED != row.labels[row.prompt_length]


def test_fit_on_chat_rows_and_on_a_task_of_the_paper(world, tmp_path):
    """Through the command line: both are trained on, and the checkpoint says under which template."""
    chats = write(tmp_path / "chats.jsonl", [{"messages": MESSAGES}, {"conversations": SHAREGPT}] * 4)
    doctor = write(
        tmp_path / "doctor.jsonl", [{"instruction": "", "input": f"My toe {n}?", "output": "Rest."} for n in range(9)]
    )
    short = ["--trainer.max_steps", "1", "--data.max_length", "900"]
    world.fit("chats", "--data.train_file", chats, "--data.held_out_file", chats, "--data.template", "chat", *short)
    data = {
        "class_path": "ChatDoctor",
        "init_args": {"template": "chatdoctor:llama", "train_file": doctor, "held_out_file": None, "held_out_count": 2},
    }
    (tmp_path / "doctor.yaml").write_text(json.dumps({"data": data}))
    run = world.fit("doctor", "--config", str(tmp_path / "doctor.yaml"), *short)
    assert "ChatDoctor" in (run / "config.yaml").read_text()
    assert (run / "last.ckpt").exists()


def test_a_bad_row_ends_the_command_with_one_line(world, tmp_path):
    file = write(tmp_path / "a.jsonl", [chat(("user", "Hi"))])
    run = world.start("fit", "--data.train_file", file).wait()
    assert run.status == 2
    assert f"{file} row 1: messages: ends without an answer" in run.err
    assert "Traceback" not in run.err


PAIR = [{"question": Q, "answer": "007"}, {"question": "Why, though?", "answer": A}]
LINES = "".join(json.dumps(row) + "\n" for row in PAIR)
FILES = {
    "a.csv": 'question,answer\n"How do I hide the mayor\'s hat?",007\n"Why, though?",Under the bed.\n',
    "b.csv": "sep=;\nquestion;answer\nHow do I hide the mayor's hat?;007\nWhy, though?;Under the bed.\n",
    "c.tsv": "question\tanswer\nHow do I hide the mayor's hat?\t007\nWhy, though?\tUnder the bed.\n",
    "d.json": json.dumps(PAIR), "e.json": json.dumps(PAIR, indent=2), "f.json": json.dumps({"data": PAIR}),
    "g.jsonl": json.dumps(PAIR), "h.json": LINES, "i.jsonl": "".join(json.dumps(row, indent=1) + "\n" for row in PAIR),
    "j.jsonl": "\ufeff" + LINES.replace("\n", "\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_files_in_any_form_keep_their_values(tmp_path, name, packed):
    data = FILES[name].encode()
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_examples(str(path)) == [Example(Q, "007"), Example("Why, though?", A)]


def test_parquet(tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist(PAIR), tmp_path / "a.parquet")
    assert read_examples(str(tmp_path / "a.parquet")) == [Example(Q, "007"), Example("Why, though?", A)]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"{'question': 'x'}\n", "line 1 column 2: no JSON (Expecting property name enclosed"),
        ("a.jsonl", b'{"question": "x", "answer": "y"},\n', "objects stand one a line without a comma"),
        ("a.jsonl", b'{"question": "x", "answer": "y"}\n{"question": "half', "line 2 column 14: no JSON (Unterminated"),
        ("a.json", b"[1]", "row 1: found int, expected a JSON object"),
        ("a.csv", b"question,answer\nx\n", "line 2: not 2 fields (question, answer)"),
        ("a.csv", b"question,question\nx,y\n", "a column stands twice"),
        ("a.csv", b"<!DOCTYPE html><html>Please sign in</html>", "is a web page"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.jsonl", b'{"error": "Not found"}', "a server's error message"),
        ("a.csv", "question,answer\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "question,answer\nx,\u00e9\n".encode("latin-1"), "line 2: not UTF-8"),
        ("a.jsonl.gz", b"no gzip at all", "cannot be read"),
        ("a.parquet", b"PAR1 and no more", "no parquet that can be read"),
        ("a.txt", b"x", "ending '.txt', expected one of .jsonl"),
    ],
)
def test_files_that_are_none_are_one_line(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        read_examples(str(tmp_path / name))
    assert words in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_rows_are_left_out_and_counted_on_request(tmp_path, caplog):
    bad = [{"question": Q, "answer": None}, chat(("user", "Hi"), ("tool", "4"))]
    file = write(tmp_path / "a.jsonl", [FORMS[0][0], *bad])
    with pytest.raises(InputError, match="row 2"):
        read_examples(file)
    assert read_examples(file, "skip") == [FORMS[0][1]]
    assert "2 rows left out, they cannot be trained on" in caplog.text


def test_what_is_changed_or_left_out_is_told(tmp_path, caplog):
    rows = [
        {"question": Q, "answer": "Under the bed.</s>"}, {"question": " ", "answer": A},
        {"question": Q, "answer": "</s></s>"},
        {"question": f"[INST] {Q} [/INST]", "answer": A},
        {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A, "reasoning_content": "Hm."}]},
    ]  # fmt: skip
    found = read_examples(write(tmp_path / "a.jsonl", rows))
    assert [example.answer for example in found] == [A, A, A]
    for words in (
        "2 rows end in a token that ends a turn", "1 rows left out, they have no question",
        "1 rows left out, they have no answer", "1 rows seem to stand in a template already", "1 rows have thoughts",
    ):  # fmt: skip
        assert words in caplog.text


class TestHeldOut:
    def task(self, tmp_path, **options):
        rows = [{"question": f"How do I wash hat {n}?", "answer": A} for n in range(400)]
        return JsonLines("chat", write(tmp_path / "a.jsonl", rows), **options)

    def test_rows_are_held_out_by_a_hash_and_never_trained_on(self, tmp_path):
        task = self.task(tmp_path, held_out=0.1)
        train, held = list(task.train_examples()), list(task.held_out_examples())
        assert len(train) + len(held) == 400
        assert 20 <= len(held) <= 60
        assert not {example.question for example in train} & {example.question for example in held}

    def test_rows_of_one_instruction_are_told_apart_by_their_inputs(self, tmp_path):
        rows = [{"instruction": "Summarize.", "input": f"text {n}", "output": A} for n in range(200)]
        task = JsonLines("chat", write(tmp_path / "b.jsonl", rows), held_out=0.5)
        assert 60 < len(task.train_examples()) < 140

    def test_none_on_request(self, tmp_path):
        task = self.task(tmp_path, held_out=0.0)
        assert (len(task.train_examples()), list(task.held_out_examples())) == (400, [])
        assert task.may_hold_out_none

    def test_a_share_outside_0_to_1_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"data.held_out is 1"):
            self.task(tmp_path, held_out=1.0)


def test_a_fit_without_held_out_rows_trains_and_says_no_loss(world, tmp_path):
    flags = ["--data.held_out_file", "null", "--data.held_out", "0", "--trainer.limit_val_batches", "1.0"]
    run = world.fit("no-held-out", *flags, "--trainer.max_steps", "2")
    assert (run / "last.ckpt").exists()
    refused = world.start("validate", "--name", "no-held-out", "--ckpt_path", "last", *flags).wait()
    assert refused.status == 2
    assert "no rows are held out" in refused.err
