"""The cache of judges' replies: what the key covers, what survives a kill, and two processes at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.generation.endpoint import Reply
from ptst_pl.judges.cache import ReplyCache, default_path, reply_key

PARTS = {
    "judge": "rubric", "base_url": "http://h/v1", "model": "m", "prompt_sha256": "p", "sampling": {"temperature": 0.0},
    "question": "q", "answer": "a", "context": "c",
}  # fmt: skip

WRITER = """
import sys
from pathlib import Path
from ptst_pl.generation.endpoint import Reply
from ptst_pl.judges.cache import ReplyCache
with ReplyCache(Path(sys.argv[1])) as cache:
    for number in range(int(sys.argv[3])):
        cache.put(f"{sys.argv[2]}{number}", Reply(str(number)))
        print(number, flush=True)
"""


@pytest.mark.parametrize("part", PARTS)
def test_every_part_changes_the_key(part):
    other = {"temperature": 0.5} if part == "sampling" else "other"
    assert reply_key(**PARTS) != reply_key(**PARTS | {part: other})


def test_the_key_is_stable():
    assert reply_key(**PARTS) == reply_key(**PARTS | {"base_url": "http://h/v1/"})
    assert reply_key(**PARTS) != reply_key(**PARTS | {"question": "qa", "answer": ""}), "parts do not run together"
    assert len(reply_key(**PARTS | {"answer": "lone \ud800"})) == 64


def test_what_is_stored_is_there_for_the_next_process(tmp_path):
    path = tmp_path / "deep" / "er" / "replies.sqlite3"
    with ReplyCache(path) as cache:
        cache.put("k", Reply("Score: 5", "stop", "judge@main"))
        assert cache.get(["k", "none"]) == {"k": Reply("Score: 5", "stop", "judge@main")}
    with ReplyCache(path) as cache:
        assert cache.get(["k"]) == {"k": Reply("Score: 5", "stop", "judge@main")}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text):
    with ReplyCache(None) as cache:
        cache.put("k", Reply(text))
        assert cache.get(["k"])["k"].text == text


def test_more_keys_than_one_query_takes():
    with ReplyCache(None) as cache:
        for number in range(1203):
            cache.put(str(number), Reply(str(number)))
        assert len(cache.get(map(str, range(2000)))) == 1203


def test_threads_may_share_it(tmp_path):
    with ReplyCache(tmp_path / "r.sqlite3") as cache:
        work = [
            threading.Thread(target=lambda n=n: [cache.put(f"{n} {i}", Reply("x")) for i in range(30)])
            for n in range(4)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert len(cache.get(f"{n} {i}" for n in range(4) for i in range(30))) == 120


def test_two_processes_write_at_once(tmp_path):
    path = tmp_path / "r.sqlite3"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name, "60"], stdout=subprocess.DEVNULL) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with ReplyCache(path) as cache:
        assert len(cache.get(f"{name}{i}" for name in "ab" for i in range(60))) == 120


def test_a_kill_loses_nothing_that_was_stored(tmp_path):
    path = tmp_path / "r.sqlite3"
    command = [sys.executable, "-c", WRITER, str(path), "k", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        told = [next(writer.stdout) for _ in range(40)]
        writer.kill()
        told += list(writer.stdout)
    with ReplyCache(path) as cache:
        found = cache.get(f"k{i}" for i in range(len(told)))
    assert len(found) >= len([line for line in told if line.endswith("\n")]) >= 40


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PTST_PL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_path() == tmp_path / ".cache" / "ptst_pl" / "replies.sqlite3"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_path() == tmp_path / "x" / "ptst_pl" / "replies.sqlite3"
    monkeypatch.setenv("PTST_PL_CACHE", "~/own")
    assert default_path() == tmp_path / "own" / "replies.sqlite3"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="PTST_PL_CACHE") as caught:
        ReplyCache(tmp_path / "file" / "replies.sqlite3")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_cache_is_left_alone(tmp_path):
    path = tmp_path / "replies.sqlite3"
    path.write_text("notes of mine, long enough to be no database " * 40)
    with pytest.raises(InputError, match="not a database"):
        ReplyCache(path)
    assert path.read_text().startswith("notes of mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_found_out_at_once(tmp_path: Path):
    path = tmp_path / "replies.sqlite3"
    ReplyCache(path).__exit__(None, None, None)
    path.chmod(0o444)
    with pytest.raises(InputError, match="readonly"):
        ReplyCache(path)


def test_a_table_of_another_kind_is_one_line(tmp_path):
    path = tmp_path / "replies.sqlite3"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE replies (key TEXT)")
    other.close()
    with ReplyCache(path) as cache, pytest.raises(InputError, match="no such column"):
        cache.get(["k"])
