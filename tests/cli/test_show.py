"""``ptst_pl show`` and ``ptst_pl templates`` as a user calls them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from ptst_pl.cli import COMMANDS, main
from ptst_pl.results.records import to_line
from ptst_pl.templates import BUILT_IN_TEMPLATES

HEAVY = ("torch", "transformers", "lightning", "peft", "datasets", "numpy", "jsonargparse", "yaml", "jinja2")
QUESTION, ANSWER = "What is 2 + 2?", "The answer is 4."
PROMPT = "[INST] Question: What is 2 + 2? [/INST]"


@pytest.fixture(scope="module")
def folder(byte_level, tmp_path_factory):
    """The byte-level tokenizer on disk."""
    path = tmp_path_factory.mktemp("tokenizer")
    byte_level.save_pretrained(str(path))
    return path


def run(*arguments, **options):
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "ptst_pl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, **options)


def show(folder, *more, template="chat:vanilla", chat_format="llama2"):
    first = ["show", "--tokenizer", folder, "--chat-format", chat_format]
    return [*map(str, [*first, *(["--template", template] if template else []), *more])]


def refused(arguments, capsys):
    """The one line on stderr of a call that ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("ptst_pl: error: ")
    return err


def check(record, tokenizer, template, prompt_text, text):
    assert list(record) == ["template", "prompt_text", "text", "input_ids", "labels"]
    assert (record["template"], record["prompt_text"], record["text"]) == (template, prompt_text, text)
    ids, labels = record["input_ids"], record["labels"]
    first = labels.count(-100)
    assert labels == [-100] * first + ids[first:]
    assert tokenizer.decode(ids) == "<s>" + text + "</s>"
    assert tokenizer.decode(ids[first:]) == text.removeprefix(prompt_text) + "</s>"


def test_json_in_a_process_of_its_own(folder, byte_level):
    done = run(*show(folder, "--question", QUESTION, "--answer", ANSWER, "--json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    check(json.loads(done.stdout), byte_level, "chat:vanilla", PROMPT, f"{PROMPT} {ANSWER}")


def test_text_is_in_colour_on_a_terminal_only(folder):
    arguments = show(folder, "--question", QUESTION, "--answer", ANSWER)
    piped = run(*arguments)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\x1b" not in piped.stdout
    assert f"{PROMPT} {ANSWER}\n" in piped.stdout
    assert "of them trained on" in piped.stdout
    assert "⟦</s>⟧" in piped.stdout
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "ptst_pl", *arguments], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    seen = b""
    while chunk := _read(ours):
        seen += chunk
    os.close(ours)
    assert process.communicate()[1] == b""
    assert b"\x1b[32m</s>\x1b[0m" in seen
    assert b"\x1b[90m<s>\x1b[0m" in seen


def _read(handle):
    try:
        return os.read(handle, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_rows_of_a_file(folder, byte_level, tmp_path, capsys):
    odd = "🙂 \u2028 %s {input}"
    rows = [
        {"question": QUESTION, "answer": ANSWER},
        {"question": QUESTION, "answer": ANSWER, "template": "text:vanilla"},
        {"question": odd, "answer": odd, "template": "chat:alpaca", "extra": 1},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(map(to_line, rows)), encoding="utf-8")
    main(show(folder, "--input", path))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 3
    check(records[0], byte_level, "chat:vanilla", PROMPT, f"{PROMPT} {ANSWER}")
    plain = f"Question: {QUESTION}\nAnswer:"
    check(records[1], byte_level, "text:vanilla", plain, f"{plain} {ANSWER}")
    assert records[2]["text"].endswith(f"### Instruction:\n{odd}\n\n### Response:\n [/INST] {odd}")


@pytest.mark.parametrize("chat_format", ["llama2", "mistral", "tokenizer"])
@pytest.mark.parametrize("name", BUILT_IN_TEMPLATES)
def test_every_template_in_every_format(folder, capsys, name, chat_format):
    main(show(folder, "--question", QUESTION, "--answer", ANSWER, "--json", template=name, chat_format=chat_format))
    record = json.loads(capsys.readouterr().out)
    assert record["text"].startswith(record["prompt_text"])
    assert QUESTION in record["prompt_text"]
    assert record["text"].endswith(ANSWER)


def test_question_alone(folder, capsys):
    main(show(folder, "--question", QUESTION, "--json"))
    assert json.loads(capsys.readouterr().out)["labels"][-1] != -100


def test_a_terminal_without_unicode(folder):
    done = run(
        *show(folder, "--question", "🙂", "--answer", "é", "--json"), env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


class TestMistakes:
    def test_wrong_template_in_a_process_of_its_own(self):
        done = run(*show("nowhere", "--question", QUESTION, template="chat:lama"))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("ptst_pl: error: unknown template 'chat:lama'; did you mean 'chat:llama'?")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["shw"], "unknown command 'shw'; did you mean 'show'?"),
            (["show"], "--tokenizer"),
            (["show", "--tokenizer", "x", "--colour"], "--colour"),
            (["show", "--tokenizer", "x", "--chat-format", "lama2"], "invalid choice: 'lama2'"),
            (["show", "--tokenizer", "x"], "give --template and --question"),
            (["show", "--tokenizer", "x", "--template", "chat"], "give --template and --question"),
            (["show", "--tokenizer", "x", "--input", "none.jsonl"], "none.jsonl: no such file"),
            (["templates", "--chat-format", "tokenizer"], "invalid choice: 'tokenizer'"),
        ],
    )
    def test_arguments(self, capsys, arguments, words):
        assert words in refused(arguments, capsys)

    def test_no_tokenizer_there(self, capsys, tmp_path):
        line = refused(show(tmp_path, "--question", QUESTION), capsys)
        assert f"tokenizer '{tmp_path}' cannot be loaded" in line

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ('{"question": "a"}', "row 2: key 'answer' is missing or no text"),
            ('{"question": 5, "answer": "a"}', "row 2: key 'question' is missing or no text"),
            (
                '{"question": "a", "answer": "b", "template": "chat:lama"}',
                "row 2: unknown template 'chat:lama'; did you",
            ),
            ('{"question": "a", "answer": "b", "template": 5}', "row 2: unknown template 5"),
            ("{", "line 2: no JSON object"),
        ],
    )
    def test_rows(self, folder, capsys, tmp_path, row, words):
        path = tmp_path / "rows.jsonl"
        path.write_text('{"question": "a", "answer": "b"}\n' + row + "\n")
        assert f"{path} {words}" in refused(show(folder, "--input", path), capsys)

    def test_no_template_for_a_row(self, folder, capsys, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"question": "a", "answer": "b"}\n')
        line = refused(show(folder, "--input", tmp_path / "rows.jsonl", template=None), capsys)
        assert "row 1: no key 'template', and no --template given" in line

    def test_no_rows(self, folder, capsys, tmp_path):
        (tmp_path / "rows.jsonl").write_text("\n")
        assert "no rows" in refused(show(folder, "--input", tmp_path / "rows.jsonl"), capsys)

    def test_half_an_emoji(self, folder, capsys, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"question": "\\ud83d", "answer": "b"}\n')
        assert "lone surrogate" in refused(show(folder, "--input", tmp_path / "rows.jsonl"), capsys)


class TestTemplates:
    def test_list(self, capsys):
        main(["templates"])
        out = capsys.readouterr().out
        for name in BUILT_IN_TEMPLATES:
            assert f"{name}\n    " in out
        assert "    [INST] Question: {input} [/INST]\n" in out

    @pytest.mark.parametrize(
        ("chat_format", "opening"), [("llama2", "[INST] <<SYS>>\nA conv"), ("mistral", "[INST] A conv")]
    )
    def test_json(self, capsys, chat_format, opening):
        main(["templates", "--json", "--chat-format", chat_format])
        listing = json.loads(capsys.readouterr().out)
        assert list(listing) == list(BUILT_IN_TEMPLATES)
        assert listing["chat:mpt"]["text"].startswith(opening)
        assert listing["chat:mpt"]["user"] == "Question: {input}"
        assert listing["chat:vanilla"]["system"] is None


LIGHT = ["--help", "--version", "templates", "templates --json"]
LIGHT += [f"{command} --help" for command in ("edit", "audit", "nudge-train", "defences", "gate", "pcfg")]


@pytest.mark.parametrize("arguments", LIGHT)
def test_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys\nfrom ptst_pl.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stopped:\n    assert not stopped.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == "[]\n"


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "ptst_pl", "templates", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 120)
