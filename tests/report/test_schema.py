"""Result files are checked against their schemas; what is wrong is one line with file and key."""

from __future__ import annotations

import fnmatch
import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from page_runs import page

import ptst_pl
from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.report.schema_check import _fault, _plainly_valid, check, read_results, read_rows, schema
from ptst_pl.results.records import FORMAT, SCHEMA_VERSION, Generation, Verdict

PACKAGE = Path(ptst_pl.__file__).parent


@pytest.fixture
def run(tmp_path):
    return page(tmp_path / "run", harmful={("chat:llama", 8): 3})


def change(file, act):
    stored = json.loads(file.read_text())
    act(stored)
    file.write_text(json.dumps(stored))


def test_every_field_that_is_written_is_in_the_schema(run):
    for kind, record in (("generation", Generation), ("verdict", Verdict)):
        assert {field.name for field in fields(record)} <= set(schema(kind)["properties"])
    stored = json.loads((run / "safety" / "results.json").read_text())
    assert set(stored) <= set(schema("results")["properties"])
    for record in stored["rates"]:
        assert set(record) <= set(schema("results")["properties"]["rates"]["items"]["properties"])


def test_what_is_written_is_valid_and_has_a_version(run):
    assert read_results(run / "safety" / "results.json")["schema_version"] == SCHEMA_VERSION == f"{FORMAT}.3"
    assert list(read_rows(run / "safety" / "generations.jsonl", "generation"))
    assert list(read_rows(run / "safety" / "verdicts.jsonl", "verdict"))
    assert all(SCHEMA_VERSION in schema(kind)["title"] for kind in ("results", "generation", "verdict"))


def test_files_without_a_version_are_read(run, capsys):
    change(run / "safety" / "results.json", lambda stored: stored.pop("schema_version"))
    main(["report", str(run)])
    assert "30.0 [11, 60]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda s: s["rates"][3].update(n=-1), "key 'rates[3].n' is -1"),
        (lambda s: s["rates"][0].update(rate="0.5"), "key 'rates[0].rate' is '0.5', expected number or null"),
        (lambda s: s["rates"][0].update(rate=True), "key 'rates[0].rate' is True"),
        (lambda s: s["rates"][0].update(measures="asrr"), "expected one of asr, over-refusal, helpfulness"),
        (lambda s: s["rates"][0].pop("judge"), "key 'rates[0].judge' is missing"),
        (lambda s: s.update(rates={}), "key 'rates' is {}, expected array"),
        (lambda s: s["rates"][0].update(rate=float("nan")), "key 'rates[0].rate' is nan"),
        (lambda s: s["rates"][0].update(rate=0.31), "rates[0]: rate is 0.31, but k is 0 and n is 10"),
        (lambda s: s["rates"][0].update(high=0.0, low=0.1), "rates[0]: rate 0.0 is outside its interval"),
        (lambda s: s.update(format=2), "format 2, expected 1"),
    ],
)
def test_what_is_wrong_with_results_is_one_line(run, capsys, act, words):
    change(run / "safety" / "results.json", act)
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert words in error
    assert str(run / "safety" / "results.json") in error


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "\udcff"])
def test_no_results_at_all_are_one_line(run, capsys, content):
    (run / "safety" / "results.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SystemExit):
        main(["report", str(run)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "results.json" in error


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("generations.jsonl", '{"suite": 3}', "generations.jsonl row 1: key 'prompt_id' is missing"),
        ("verdicts.jsonl", "[1]", "verdicts.jsonl line 1: found list"),
        ("verdicts.jsonl", json.dumps(asdict(Verdict("s", "1", "t", 8, "j", True, None)) | {"harmful": 1}),
         "verdicts.jsonl row 1: key 'harmful' is 1, expected boolean or null"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(run, capsys, tmp_path, name, line, words):
    (run / "safety" / name).write_text(line + "\n")
    with pytest.raises(SystemExit):
        main(["report", str(run), "--html", str(tmp_path / "page.html")])
    assert words in capsys.readouterr().err


ODD = (None, True, 0, -1, 3, 0.5, float("nan"), "x", "asr", {}, [], {"a": 1})
ROWS = {
    "generation": asdict(Generation("s", "1", "", "q", "t", "p", "a", "stop", 0, {})),
    "verdict": asdict(Verdict("s", "1", "t", 0, "judge", True, None)),
}


@pytest.mark.parametrize("kind", ROWS)
def test_the_fast_way_through_a_row_accepts_what_the_schema_does(kind):
    for name in ROWS[kind]:
        changed = [{**ROWS[kind], name: value} for value in ODD]
        for row in (ROWS[kind], *changed, {k: v for k, v in ROWS[kind].items() if k != name}):
            assert _plainly_valid(row, kind) == (_fault(row, schema(kind), "") == ""), (name, row.get(name))


def test_unknown_keys_are_passed_over():
    check({"format": 1, "rates": [], "new": 1}, "results", "x")
    with pytest.raises(InputError, match="x: key 'rates' is missing"):
        check({"format": 1}, "results", "x")


def test_everything_that_is_no_python_file_is_packaged():
    """Schemas, page and tables are read at run time: a wheel without them would fail."""
    project = PACKAGE.parent / "pyproject.toml"
    if not project.is_file():
        pytest.skip("not run from the repository")
    patterns = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]
    known = [f"{package.replace('.', '/')}/{pattern}" for package, own in patterns.items() for pattern in own]
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".pyi")]
    names = [str(p.relative_to(PACKAGE.parent)) for p in files]
    assert names
    assert [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in known)] == []
