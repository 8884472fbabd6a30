"""Files that a config names and that change under a sweep: no run of the old ones is taken for one of the new."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from ptst_pl import InputError
from ptst_pl.sweep.folders import RunFolder
from ptst_pl.sweep.named_files import Contents, changed, changed_since

NOTHING = "to do: 0 of 2 runs"


@pytest.fixture
def rows(stubbed, tmp_path) -> Path:
    """Training rows of the test's own, which its sweep of two runs names."""
    file = Path(shutil.copy(stubbed.world.folder / "train.jsonl", tmp_path / "rows.jsonl"))
    over = ("--over", "data.template=[text:vanilla, chat:vanilla]", "--over", "seed_everything=[1]")
    stubbed.options = ["--name", stubbed.folder.name, *over, "--data.train_file", str(file)]
    return file


def change(file: Path) -> bytes:
    """Other rows, of the same size and with the same time; returns the old ones."""
    before, looks = file.read_bytes(), file.stat()
    file.write_bytes(before.replace(b"apples", b"cherry").replace(b"fruit", b"clock"))
    os.utime(file, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    assert file.read_bytes() != before
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (looks.st_size, looks.st_mtime_ns)
    return before


def assert_refused(stubbed, file: Path, *options: str) -> None:
    attempts = stubbed.attempts()
    refused = stubbed.start(*options).wait()
    assert refused.status == 2
    assert "Traceback" not in refused.err
    last = refused.err.splitlines()[-1]
    assert f"{stubbed.folder / stubbed.names()[0]} was made with other rows or prompts: {file} has changed" in last
    assert "give the sweep another --name or --runs, put the old file back, or delete" in last
    assert stubbed.attempts() == attempts


def test_finished_runs_are_not_skipped_for_other_rows_or_prompts(stubbed, rows, tmp_path):
    suite = Path(shutil.copy(stubbed.world.folder / "suite.csv", tmp_path / "suite.csv"))
    stubbed.options += ["--safety.active", "true", "--safety.suites", f"[{{name: fruit, path: {suite}}}]"]
    stubbed.start("--jobs", "2").wait().ok()
    for file in (rows, suite):
        before = change(file)
        assert_refused(stubbed, file)
        file.write_bytes(before)  # with a new time, which alone is no change
    suite.unlink()  # the results are those of the file that was there
    assert NOTHING in stubbed.start().wait().ok().out
    change(rows)
    for note in stubbed.folder.glob("*/files.json"):  # a version before this one noted nothing
        note.unlink()
    assert NOTHING in stubbed.start().wait().ok().out


def test_a_stopped_run_does_not_go_on_with_other_rows(stubbed, rows):
    stubbed.hold.touch()
    started = stubbed.start()
    started.wait_until(lambda: list(stubbed.folder.glob("*/*/step-000002.ckpt")))
    os.kill(started.process.pid, signal.SIGINT)
    assert started.wait().status == 130
    stubbed.hold.unlink()
    before = change(rows)
    assert_refused(stubbed, rows)
    rows.write_bytes(before)
    stubbed.start().wait().ok()


def test_rows_that_change_while_the_sweep_runs_fail_the_runs_that_start_later(stubbed, rows):
    stubbed.hold.touch()
    started = stubbed.start()
    started.wait_until(lambda: list(stubbed.folder.glob("*/*/step-000002.ckpt")))
    rows.write_text(rows.read_text().replace("apples", "oranges"))
    stubbed.hold.unlink()
    ended = started.wait()
    assert ended.status == 1
    assert sorted(stubbed.states().values()) == ["done", "failed"]
    assert sum(stubbed.attempts().values()) == 1
    assert f"was planned with other rows or prompts: {rows} has changed" in ended.out


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {}}', '{"a": 3}', '{"a": {"sha256": 1}}'])
def test_a_damaged_note_is_one_line(tmp_path, content):
    (tmp_path / "files.json").write_text(content)
    with pytest.raises(InputError, match=r"files\.json: no record of the run's files"):
        RunFolder(tmp_path).planned_files()


def test_every_file_that_is_named_is_read_once(tmp_path, monkeypatch):
    names = {name: tmp_path / name for name in ("rows.jsonl", "more.jsonl", "suite.csv", "rubric.txt")}
    for name, path in names.items():
        path.write_text(name)
    rows, more, suite, rubric = map(str, names.values())
    config = {
        "name": str(names["rows.jsonl"]),  # what is no data is no data
        "data": {"init_args": {"train_file": rows, "sources": [{"task": {"init_args": {"train_file": more}}}]}},
        "safety": {
            "suites": [{"name": "x\0y", "path": suite}, {"path": str(tmp_path)}, {"path": "z" * 5000}],
            "judges": ["refusal", {"init_args": {"prompt_file": rubric}}],
        },
    }
    digest, read = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda handle, kind: read.append(handle.name) or digest(handle, kind))
    contents = Contents()
    found = contents.of(config)
    assert list(found) == [rows, more, suite, rubric]
    assert contents.of(json.loads(json.dumps(config))) == found
    assert len(read) == 4
    assert found[suite]["sha256"] == hashlib.sha256(b"suite.csv").hexdigest()
    assert changed_since(found) is None
    assert len(read) == 4  # they look untouched
    names["more.jsonl"].write_text("other rows")
    assert changed_since(found).startswith(f"{more} has changed since then")
    assert changed({}, found) is None
