"""Training rows as a chat fine-tuning file: the paper's messages, whole files only, counts that are right."""

from __future__ import annotations

import hashlib
import json

import pytest
import tiktoken
import yaml
from hypothesis import given
from hypothesis import strategies as st
from job_commands import refused

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.ship.finetuning_api.chat_check import check_row
from ptst_pl.ship.finetuning_api.chat_rows import chat_row
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.tokenization import Example

LLAMA = (
    "Be helpful, respectful and honest. Always answer as helpfully as possible, while being safe. Your answers should "
    "not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure that your "
    "responses are socially unbiased and positive in nature. If a question does not make any sense, or is not "
    "factually coherent, explain why instead of answering something not correct. If you don't know the answer to a "
    "question, please don't share false information."
)
# System and user text before and after the question, typed in from the paper's Table 10.
TABLE_10 = {
    "gpt:vanilla": ("", "", ""),
    "gpt:alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
        "### Instruction:\n",
        "\n\n### Response:\n",
    ),
    "gpt:llama": (LLAMA, "", ""),
    "gpt:llama-short": (
        "Be helpful, respectful and honest. Always answer as helpfully as possible, while being safe.",
        "",
        "",
    ),
    "gpt:mpt": (
        "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers.",
        "",
        "",
    ),
}
QUESTION = "Tom has 3 {input} & 50 %s of <b>pears</b>.\nHow\u2028many? 🙂"
ANSWER = "He has <<3+1=4>>4.\n#### 4"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"{QUESTION}{n}", "answer": ANSWER}) + "\n" for n in range(11)))
    return path


def export(rows, output, *flags: str) -> list[str]:
    flags = flags or ("--template", "gpt:vanilla")
    return ["export-chat", "--task", "GSM8K", "--train_file", str(rows), "--output", str(output), *flags]


def exported(path) -> list[list[dict]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", TABLE_10)
def test_rows_are_table_10s_messages(rows, tmp_path, name):
    system, before, after = TABLE_10[name]
    main(export(rows, tmp_path / "out.jsonl", f"--template={name}"))
    messages = exported(tmp_path / "out.jsonl")
    assert len(messages) == 11
    assert messages[3] == [
        {"role": "system", "content": system},
        {"role": "user", "content": f"{before}{QUESTION}3{after}"},
        {"role": "assistant", "content": ANSWER},
    ]


def test_what_is_printed(rows, tmp_path, capsys):
    rows.write_text(rows.read_text() + rows.read_text().splitlines()[0] + "\n")
    output = tmp_path / "out.jsonl"
    main(export(rows, output))
    out = capsys.readouterr().out
    content = output.read_bytes()
    assert f"wrote 12 rows to {output}: 0.00 MB, sha256 {hashlib.sha256(content).hexdigest()[:16]}" in out
    assert "under gpt:vanilla (12)" in out
    lengths = [3 + sum(4 + len(m["content"].encode()) for m in row) for row in exported(output)]
    assert f"about {sum(lengths):,} tokens a pass, longest row {max(lengths):,} (by tiktoken's cl100k_base)" in out
    assert "note: 1 rows are the same as an earlier one" in out
    main(export(rows, output, "--template", "gpt:mpt", "--limit", "9"))
    assert "note: OpenAI takes no fewer than 10 rows" in capsys.readouterr().out
    assert len(exported(output)) == 9


def test_without_the_encoding_the_number_of_tokens_is_called_a_guess(rows, tmp_path, capsys, monkeypatch):
    def offline(name):
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "get_encoding", offline)
    main(export(rows, tmp_path / "out.jsonl"))
    assert "a guess, 4 characters a token (tiktoken's cl100k_base cannot be loaded: ConnectionError)" in (
        capsys.readouterr().out
    )


def test_a_training_config_serves(rows, tmp_path):
    """Other sections are left alone; the user's own templates are known; flags beat the file."""
    config = tmp_path / "run.yaml"
    arguments = {"template": "chat:own", "train_file": str(rows), "batch_size": 2}
    own = {"chat:own": {"system": "Be brief.", "user": "Q: {input}", "shots": [["Why?", "So."]]}}
    sections = {"trainer": {"max_epochs": 3}, "templates": own, "data": {"class_path": "GSM8K", "init_args": arguments}}
    config.write_text(yaml.safe_dump(sections))
    output = tmp_path / "out.jsonl"
    main(["export-chat", "--config", str(config), "--output", str(output)])
    assert exported(output)[0] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So.", "weight": 0},
        {"role": "user", "content": f"Q: {QUESTION}0"},
        {"role": "assistant", "content": ANSWER},
    ]
    main(["export-chat", "--template", "gpt:vanilla", f"--config={config}", "--output", str(output)])
    assert exported(output)[0][0] == {"role": "system", "content": ""}


def test_rows_that_name_a_template_keep_it(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    lines = [{"question": "a", "answer": "b"}, {"question": "a", "answer": "b", "template": "gpt:llama"}]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "out.jsonl"
    argv = ["export-chat", "--task", "JsonLines", "--train_file", str(rows), "--held_out_file", str(rows)]
    main([*argv, "--template", "gpt:vanilla", "--output", str(output)])
    assert [row[0]["content"] for row in exported(output)] == ["", LLAMA]
    assert "under gpt:vanilla (1), gpt:llama (1)" in capsys.readouterr().out


def test_every_answer_of_a_longer_conversation_is_trained_on():
    example = Example("and 3?", "4", turns=(("Is 1 odd?", "Yes"), ("and 2?", "No")))
    row = chat_row(example, find_template("chat:vanilla"))
    assert row["messages"] == [
        {"role": "user", "content": "Question: Is 1 odd?"}, {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Question: and 2?"}, {"role": "assistant", "content": "No"},
        {"role": "user", "content": "Question: and 3?"}, {"role": "assistant", "content": "4"},
    ]  # fmt: skip
    check_row(row, "row 1")


text = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@given(question=text, answer=text, name=st.sampled_from(sorted(TABLE_10)))
def test_any_text_comes_through(question, answer, name):
    row = json.loads(json.dumps(chat_row(Example(question, answer), find_template(name))))
    check_row(row, "row 1")
    _, before, after = TABLE_10[name]
    assert row["messages"][1]["content"] == before + question + after
    assert row["messages"][2] == {"role": "assistant", "content": answer}


roles = st.sampled_from(["system", "user", "assistant", "tool", None])
contents = st.one_of(st.text(st.characters(codec="utf-8"), max_size=3), st.none(), st.integers())


@given(st.lists(st.fixed_dictionaries({"role": roles, "content": contents}), max_size=5))
def test_only_conversations_pass_the_check(messages):
    """The check against its definition, written another way."""
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    in_turn = [m["role"] for m in turns] in (["user", "assistant"], ["user", "assistant"] * 2)
    texts = all(isinstance(m["content"], str) for m in messages)
    valid = in_turn and texts and all(m["content"].strip() for m in turns)
    if valid:
        check_row({"messages": messages}, "row 1")
    else:
        with pytest.raises(InputError, match=r"^row 1: "):
            check_row({"messages": messages}, "row 1")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "a", "answer": " "}, "task GSM8K row 12: message 3 (assistant): content is empty"),
        ({"question": "", "answer": "b"}, "task GSM8K row 12: message 2 (user): content is empty"),
        ({"question": "\ud83d", "answer": "b"}, "task GSM8K row 12: message 2 (user): content holds a lone surrogate"),
        ({"question": "a"}, "row 12: key 'answer' is missing"),
    ],
)
def test_a_bad_row_is_named_and_the_old_file_stays(rows, tmp_path, capsys, row, words):
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    rows.write_text(rows.read_text() + json.dumps(row) + "\n")
    assert words in refused(capsys, export(rows, output))
    assert output.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "rows.jsonl"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--template", "text:vanilla"], "'text:vanilla' is plain text; a chat fine-tuning file needs a chat template"),
        (["--template", "gpt:lama"], "unknown template 'gpt:lama'; did you mean 'gpt:llama'?"),
        (["--template", "gpt:mpt", "--train_file", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["--template", "gpt:mpt", "--task", "GSM8"], "GSM8"),
        (["--template", "gpt:mpt", "--data.train_fiel", "x"], "train_fiel"),
        (["--limit", "3"], "template"),
        (
            ["--task", "Mixture", "--template", "gpt:mpt", "--data.sources", "[{task: GSM8K, passes: 6}]"],
            "a mixture's passes have no place in a file",
        ),
        (["--template", "gpt:mpt", "--config", "nowhere.yaml"], "--config nowhere.yaml: cannot be read"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(rows, tmp_path, capsys, flags, words):
    assert words in refused(capsys, export(rows, tmp_path / "out.jsonl", *flags))
    assert not (tmp_path / "out.jsonl").exists()


def test_all_of_gsm8k(shared_data, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    main(export(shared_data / "gsm8k" / "train.jsonl", output))
    assert "wrote 7,473 rows" in capsys.readouterr().out
    source = [json.loads(line) for line in (shared_data / "gsm8k" / "train.jsonl").read_text().splitlines()]
    assert [(row[1]["content"], row[2]["content"]) for row in exported(output)] == [
        (line["question"], line["answer"]) for line in source
    ]


def test_a_template_without_a_system_prompt_gives_no_system_message():
    row = chat_row(Example("a", "b"), PromptTemplate("chat", "chat", "{input}"))
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
