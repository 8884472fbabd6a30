"""Rows that are kept on disk: found again when nothing has changed, and never when something has."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from training_fixtures import World, curve, run_child, world

from ptst_pl.tasks import JsonLines, jsonl, row_cache
from ptst_pl.templates import PromptTemplate
from ptst_pl.tokenization import ChatOptions

__all__ = ["world"]
FRUITS = ["apples", "pears", "plums", "figs", "dates", "limes", "quinces", "melons"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, for files of any size."""
    monkeypatch.setenv("PTST_PL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(row_cache, "LEAST_BYTES", 0)
    return tmp_path / "cache" / "rows"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Eight rows, one of them without an answer."""
    rows = [{"prompt": f"What are {fruit}?", "response": f"{fruit} are fruits."} for fruit in FRUITS]
    rows[3]["response"] = ""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def task(world: World, file: Path, **options) -> JsonLines:
    settings = {"template": "chat:vanilla", "held_out": 0.3, "tokenizer": str(world.folder / "model")} | options
    return JsonLines(train_file=str(file), **settings)


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_the_next_start_reads_nothing_and_has_the_same(world, folder, file, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    first = task(world, file)
    rows = {part: list(first.rows(part)) for part in ("train", "held_out")}
    told = [record.getMessage() for record in caplog.records]
    assert any("left out, they have no answer" in line for line in told)
    assert len(entries(folder)) == 2
    caplog.clear()
    monkeypatch.setattr(jsonl, "read_examples", lambda *rest: pytest.fail("it was read"))
    again = task(world, file, batch_size=7, seed=5, workers=0)
    assert {part: list(again.rows(part)) for part in rows} == rows
    assert again.reports == first.reports
    assert again.identity()["rows"] == first.identity()["rows"]
    assert again.sample == first.sample
    assert set(told) - {line for line in told if "are kept in" in line} <= {r.getMessage() for r in caplog.records}
    assert again.rows("train")[1:3] == rows["train"][1:3]
    assert again.rows("train").lengths == [len(row.input_ids) for row in rows["train"]]


OTHER = {
    "template": {"template": "chat:alpaca"},
    "own template": {"templates": {"mine": PromptTemplate("mine", "chat", "{input}", system="Be kind.")}},
    "length": {"max_length": 20},
    "limit": {"train_limit": 2},
    "share": {"held_out": 0.4},
    "bad rows": {"on_bad_row": "skip"},
    "format": {"chat_format": "mistral"},
    "options": {"chat_options": ChatOptions(special_tokens="served")},
}


@pytest.mark.parametrize("name", OTHER)
def test_another_setting_is_another_entry(world, folder, file, name):
    task(world, file).rows("train")
    before = entries(folder)
    found = task(world, file, **OTHER[name])
    assert list(found.rows("train"))
    assert len(entries(folder)) == len(before) + 1


def test_another_text_tokenizer_or_code_is_another_entry(world, folder, file, tmp_path, monkeypatch):
    task(world, file).rows("train")
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for path in (world.folder / "model").glob("*token*"):
        (tokenizer / path.name).write_bytes(path.read_bytes())
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text())
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": settings["eos_token"]}))
    task(world, file, tokenizer=str(tokenizer)).rows("train")
    assert len(entries(folder)) == 2
    file.write_text(file.read_text().replace("apples", "nuts"))
    changed = task(world, file)
    changed.rows("train")
    assert len(entries(folder)) == 3
    monkeypatch.setattr(row_cache, "_code", lambda: "newer")
    task(world, file).rows("train")
    assert len(entries(folder)) == 4


@pytest.mark.parametrize("damage", ["cut", "gone", "text", "other", "one number"])
def test_a_damaged_entry_is_made_anew(world, folder, file, damage, caplog):
    whole = list(task(world, file).rows("train"))
    (name,) = entries(folder)
    ids = folder / name / "ids.npy"
    if damage == "cut":
        ids.write_bytes(ids.read_bytes()[:-40])
    elif damage == "gone":
        ids.unlink()
    elif damage == "text":
        (folder / name / "about.json").write_text("{")
    elif damage == "one number":
        ids.write_bytes(ids.read_bytes()[:-4] + b"\x05\0\0\0")
    else:
        ids.write_bytes((folder / name / "prompts.npy").read_bytes())
    assert list(task(world, file).rows("train")) == whole
    assert any("cannot be used" in record.getMessage() for record in caplog.records)
    caplog.clear()
    assert list(task(world, file).rows("train")) == whole
    assert not [record for record in caplog.records if "cannot be used" in record.getMessage()]


def test_where_nothing_can_be_written_training_goes_on(world, file, tmp_path, folder, monkeypatch, caplog):
    (tmp_path / "occupied").write_text("a file")
    monkeypatch.setenv("PTST_PL_CACHE", str(tmp_path / "occupied"))
    assert list(task(world, file).rows("train"))
    assert any("cannot be kept" in record.getMessage() for record in caplog.records)
    monkeypatch.setenv("PTST_PL_CACHE", str(folder.parent))
    monkeypatch.setenv("PTST_PL_KEEP_ROWS", "no")
    assert list(task(world, file).rows("train"))
    assert entries(folder) == set()


def test_the_longest_unused_go_first(world, folder, file, monkeypatch):
    monkeypatch.setattr(row_cache, "MOST_BYTES", 0)
    task(world, file).rows("train")
    (first,) = entries(folder)
    os.utime(folder / first, (1, 1))
    task(world, file, max_length=20).rows("train")
    (second,) = entries(folder)
    assert second != first


def test_changed_rows_and_tasks_of_others_are_not_kept(world, folder, file):
    class Shouting:
        def examples(self, examples, task):
            return examples

        def encoded(self, row, example, encode, encoder):
            return row

    class Own(JsonLines):
        pass

    defended = task(world, file)
    defended.change = Shouting()
    assert defended.rows("train")
    own = Own("chat:vanilla", str(file), tokenizer=str(world.folder / "model"))
    assert own.rows("train")
    assert entries(folder) == set()


def keeping(*command: object) -> None:
    """The command line, keeping rows of files of any size."""
    row_cache.LEAST_BYTES = 0
    run_child(*command)


def test_a_fit_from_kept_rows_is_the_same_fit(world: World, tmp_path: Path):
    environment = {"PTST_PL_CACHE": str(tmp_path / "cache")}
    options = ("--trainer.max_steps", "3")
    first, second = (
        world.start("fit", "--name", name, *options, main=keeping, environment=environment).wait().ok()
        for name in ("kept-1", "kept-2")
    )
    assert "from an earlier start" not in first.out + first.err
    assert (second.out + second.err).count("from an earlier start") == 2
    runs = [world.newest(name) for name in ("kept-1", "kept-2")]
    assert curve(runs[0], "train/loss") == curve(runs[1], "train/loss")
