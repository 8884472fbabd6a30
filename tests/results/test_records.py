"""Result files: whole after a kill at any moment, one line a record for any reader, and no stale attempts."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.results import records
from ptst_pl.results.records import Generation, ResultsFolder, Verdict, read_lines, to_line, write_text

PROMPTS = ("p1", "p2", "p3")


def generation(step, prompt="p1", answer="It is 4."):
    return Generation("sums", prompt, "", "2 + 2?", "chat", "[INST] 2 + 2? [/INST]", answer, "stop", step, {"t": 0})


def verdict(step, prompt="p1"):
    return Verdict("sums", prompt, "chat", step, "refusal", harmful=True, refused=False)


def add(folder, step, answer="It is 4."):
    folder.add(
        [generation(step, p, answer) for p in PROMPTS], [verdict(step, p) for p in PROMPTS], [{"step": step}], step
    )


def naive(path):
    """What a reader without our code sees."""
    with open(path, encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def steps_in(folder, name):
    path = folder.path / name
    return [row["step"] for row in naive(path)] if path.exists() else []


def check_complete(folder):
    """Every step that has rates has each of its answers and verdicts exactly once."""
    for step in folder.steps():
        for name in ("generations.jsonl", "verdicts.jsonl"):
            assert steps_in(folder, name).count(step) == len(PROMPTS), (name, step)


class TestAtomicWrites:
    def test_content_and_mode(self, tmp_path):
        write_text(tmp_path / "new" / "file.txt", "a\nb\r\nü🙂\n")
        assert (tmp_path / "new" / "file.txt").read_bytes() == "a\nb\r\nü🙂\n".encode()
        assert os.listdir(tmp_path / "new") == ["file.txt"]

    @pytest.mark.parametrize("broken", ["os.replace", "os.fsync"])
    def test_failure_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch, broken):
        path = tmp_path / "file.txt"
        write_text(path, "old")

        def fail(*args):
            raise OSError("disk full")

        monkeypatch.setattr(broken, fail)
        with pytest.raises(OSError, match="disk full"):
            write_text(path, "new")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file.txt"]

    def test_failure_while_writing_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "file.txt"
        write_text(path, "old")

        def half(temporary):
            temporary.write_text("ne")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            records.write_atomically(path, half)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file.txt"]

    def test_data_is_on_disk_before_it_gets_its_name(self, tmp_path, monkeypatch):
        calls = []
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
        monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new))[1])
        write_text(tmp_path / "file.txt", "a")
        assert calls == ["fsync", "replace", "fsync"]  # and then the name


WRITER = """
import sys
from pathlib import Path
from ptst_pl.results.records import Generation, ResultsFolder, Verdict

folder = ResultsFolder(Path(sys.argv[1]))
prompts = ("p1", "p2", "p3")
for step in range(10 ** 6):
    answer = str(step) * 20_000
    folder.add(
        [Generation("sums", p, "", "2 + 2?", "chat", "", answer, "stop", step, {}) for p in prompts],
        [Verdict("sums", p, "chat", step, "refusal", True, False) for p in prompts],
        [{"step": step}],
        step,
    )
    if step == 3:
        folder.forget_after(1)
    if step % 8 == 7:
        folder.forget_after(-1)
    print(step, flush=True)
"""


def test_a_kill_leaves_every_file_readable(tmp_path):
    for trial in range(5):
        folder = ResultsFolder(tmp_path / str(trial))
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder.path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.017 * (trial + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for path in folder.path.glob("*.jsonl"):
            assert all(len(row["prompt_id"]) == 2 for row in naive(path))
        assert json.loads(folder.results_file.read_text())["format"] == records.FORMAT
        check_complete(folder)
        add(folder, 10**7)
        assert steps_in(folder, "generations.jsonl")[-3:] == [10**7] * 3
        check_complete(folder)


@pytest.mark.parametrize(("act", "changed"), [("add", 3), ("add", 1), ("forget", 2)])
def test_a_stop_between_two_writes_leaves_no_step_that_only_seems_complete(tmp_path, monkeypatch, act, changed):
    replace = os.replace
    for allowed in itertools.count():
        folder = ResultsFolder(tmp_path / f"{act}-{allowed}")
        for step in (0, 1, 2):
            add(folder, step)
        left = iter(range(allowed))

        def stop_after_some(old, new, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            replace(old, new)

        monkeypatch.setattr(os, "replace", stop_after_some)
        try:
            if act == "forget":
                folder.forget_after(changed - 1)
            else:
                add(folder, changed, answer="Another.")
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
        monkeypatch.setattr(os, "replace", replace)
        check_complete(folder)
        for done in folder.steps():
            answers = {row["answer"] for row in naive(folder.path / "generations.jsonl") if row["step"] == done}
            assert answers == {"It is 4." if done != changed or allowed == 0 else "Another."}
        if stopped and allowed:
            assert changed not in folder.steps()
        if not stopped:
            break
    assert allowed >= 3


class TestResultsFolder:
    def test_layout(self, tmp_path):
        folder = ResultsFolder(tmp_path / "safety", {"name": "demo"})
        assert folder.rates() == []
        add(folder, 0)
        add(folder, 5)
        assert sorted(os.listdir(folder.path)) == ["generations.jsonl", "results.json", "verdicts.jsonl"]
        assert json.loads(folder.results_file.read_text()) == {
            "format": 1,
            "schema_version": "1.3",
            "name": "demo",
            "rates": [{"step": 0}, {"step": 5}],
        }
        row = naive(folder.path / "generations.jsonl")[0]
        assert set(row) >= {
            *("suite", "prompt_id", "category", "question", "template", "prompt_text"),
            *("answer", "finish_reason", "step", "decoding"),
        }
        row = naive(folder.path / "verdicts.jsonl")[0]
        assert set(row) >= {
            *("suite", "prompt_id", "template", "step", "judge", "harmful", "refused", "score", "reason")
        }
        assert row["score"] is None

    def test_adding_a_step_again_replaces_it(self, tmp_path):
        folder = ResultsFolder(tmp_path)
        for step in (0, 5, 5, 0):
            add(folder, step)
        assert folder.rates() == [{"step": 5}, {"step": 0}]
        assert steps_in(folder, "generations.jsonl") == [5, 5, 5, 0, 0, 0]

    def test_adding_drops_unfinished_attempts(self, tmp_path):
        folder = ResultsFolder(tmp_path)
        add(folder, 0)
        with (tmp_path / "generations.jsonl").open("a") as handle:
            handle.write(records.to_lines([generation(10)]))
        add(folder, 8)
        assert steps_in(folder, "generations.jsonl") == [0, 0, 0, 8, 8, 8]

    def test_forget_after(self, tmp_path):
        folder = ResultsFolder(tmp_path)
        for step in (0, 5, 10):
            add(folder, step)
        folder.forget_after(5)
        for name in ("generations.jsonl", "verdicts.jsonl"):
            assert steps_in(folder, name) == [0, 0, 0, 5, 5, 5]
        assert folder.steps() == {0, 5}
        folder.forget_after(-1)
        assert folder.steps() == set()
        assert steps_in(folder, "generations.jsonl") == []

    def test_forgetting_makes_no_folder(self, tmp_path):
        ResultsFolder(tmp_path / "none").forget_after(0)
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"rates": 5}', "\udcff"])
    def test_rates_of_another_make_are_one_line(self, tmp_path, content):
        (tmp_path / "results.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError) as caught:
            ResultsFolder(tmp_path).rates()
        assert str(tmp_path / "results.json") in str(caught.value)
        assert "\n" not in str(caught.value)


BREAKS = "\u2028 \u2029 \x85 \x0b \x0c \x1c \x1d \x1e \r\n"
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


class TestLines:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(answers=st.lists(text, max_size=5))
    def test_any_text_round_trips(self, tmp_path, answers):
        self.round_trip(tmp_path, answers)

    @pytest.mark.parametrize(
        "answer", [BREAKS, "x" * 10**6, "\\u2028 \\ud800", "half \ud83d", "\udc00\\\ud800\\", "\0\x1b"]
    )
    def test_odd_text_round_trips(self, tmp_path, answer):
        self.round_trip(tmp_path, [answer, "after", answer])

    def round_trip(self, folder, answers):
        rows = [generation(0, answer=answer) for answer in answers]
        path = folder / "generations.jsonl"
        write_text(path, records.to_lines(rows))
        assert [row["answer"] for row in naive(path)] == answers
        assert [row["answer"] for row in read_lines(path)] == answers
        assert [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()] == answers

    def test_odd_text_survives_a_rewrite(self, tmp_path):
        folder = ResultsFolder(tmp_path)
        for step in (0, 1, 2):
            add(folder, step, BREAKS + "half \ud83d")
        assert {row["answer"] for row in naive(tmp_path / "generations.jsonl")} == {BREAKS + "half \ud83d"}

    def test_readable_to_people(self):
        assert to_line({"a": "ü🙂"}) == '{"a": "ü🙂"}\n'

    def test_files_of_others(self, tmp_path):
        path = tmp_path / "x.jsonl"
        path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xe2\x80\xa8"}')
        assert list(read_lines(path)) == [{"a": 1}, {"a": "\u2028"}]

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b'{"a": ', "line 2: no JSON object"),
            (b'{"a": "\xe9"}', "line 2: no JSON object in UTF-8"),
            (b"[1]", "line 2: found list, expected a JSON object"),
            (b'{"a": ' + b"1" * 5000 + b"}", "line 2: no JSON object"),
            (b"[" * 100_000, "line 2: no JSON object"),
        ],
    )
    def test_mistakes_name_file_and_line(self, tmp_path, line, words):
        path = tmp_path / "x.jsonl"
        path.write_bytes(b'{"a": 1}\n' + line + b"\n")
        with pytest.raises(InputError) as caught:
            list(read_lines(path))
        assert f"{path} {words}" in str(caught.value)
