"""The journal: what was written whole is found again, whatever a kill did to the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.results.journal import Journal, check_folder, key_of, was_interrupted, weights_identity
from ptst_pl.results.records import ResultsFolder

CELL = "advbench under chat:llama"


def filled(path, key="k"):
    journal = Journal(path, key)
    journal.add(CELL, {0: ([1, 2], "stop"), 3: ([], "length")})
    journal.add("other", {1: ("text\u2028with breaks\nand 'quotes'", "stop")})
    return journal


def test_what_was_added_is_found_again(tmp_path):
    filled(tmp_path / "answers-0-of-1.jsonl")
    again = Journal(tmp_path / "answers-0-of-1.jsonl", "k")
    assert again.known(CELL) == {0: ([1, 2], "stop"), 3: ([], "length")}
    assert again.known("other") == {1: ("text\u2028with breaks\nand 'quotes'", "stop")}
    assert again.known("missing") == {}


def test_another_key_finds_nothing_and_starts_afresh(tmp_path):
    path = tmp_path / "answers-0-of-1.jsonl"
    filled(path)
    other = Journal(path, "other key")
    assert other.known(CELL) == {}
    other.add(CELL, {9: ([9], "stop")})
    assert Journal(path, "other key").known(CELL) == {9: ([9], "stop")}
    assert Journal(path, "k").known(CELL) == {}


@given(st.integers(0, 400))
def test_a_file_cut_anywhere_gives_whole_batches_and_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "answers-0-of-1.jsonl"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    torn = Journal(path, "k")
    assert torn.known(CELL) in ({}, {0: ([1, 2], "stop"), 3: ([], "length")})
    assert not torn.known("other") or torn.known(CELL)
    torn.add("more", {5: ([7], "stop")})
    assert Journal(path, "k").known("more") == {5: ([7], "stop")}
    assert Journal(path, "k").known(CELL) == torn.known(CELL)


def test_a_finished_evaluation_leaves_no_journal(tmp_path):
    path = tmp_path / "answers-0-of-1.jsonl"
    filled(path).close()
    assert not path.exists()
    Journal(path, "k").close()


def test_a_folder_belongs_to_one_evaluation(tmp_path):
    check_folder(tmp_path, "k")
    filled(tmp_path / "answers-0-of-1.jsonl")
    assert was_interrupted(tmp_path, "k")
    assert not was_interrupted(tmp_path, "other")
    check_folder(tmp_path, "k")
    with pytest.raises(InputError, match="give another folder"):
        check_folder(tmp_path, "other")
    (tmp_path / "answers-0-of-1.jsonl").unlink()
    ResultsFolder(tmp_path, {"key": "k"}).add([], [], [], 0)
    check_folder(tmp_path, "k")
    with pytest.raises(InputError, match="other weights"):
        check_folder(tmp_path, "other")


def test_the_key_follows_the_weights(tmp_path):
    base = {"name": "there", "revision": None, "config": "c", "weights": "w"}
    one = key_of(weights_identity(base, None))
    assert one == key_of(weights_identity(base | {"name": "moved"}, None))
    assert one != key_of(weights_identity(base | {"weights": "others"}, None))
    unknown = {"name": "hub/name", "config": None, "weights": None}
    assert key_of(weights_identity(unknown, None)) != key_of(weights_identity(unknown, "last.ckpt"))
    (tmp_path / "last.ckpt").write_bytes(b"1234")
    before = key_of(weights_identity(base, str(tmp_path / "last.ckpt")))
    (tmp_path / "last.ckpt").write_bytes(b"12345")
    assert before != key_of(weights_identity(base, str(tmp_path / "last.ckpt")))
