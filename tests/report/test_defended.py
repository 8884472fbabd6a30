"""The table of defences: which rows, which cells, what is called more than chance, what a defence costs."""

from __future__ import annotations

import json

import page_runs
import pytest
from page_runs import page

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.report.configs import defence_labels
from ptst_pl.report.defence_rows import base_template
from ptst_pl.report.defended import DefenceTable
from ptst_pl.report.defended_table import defence_tables
from ptst_pl.report.discover import find_runs
from ptst_pl.report.runs import RunResults
from ptst_pl.report.schema_check import check

LISA = {"name": "lisa", "rho": 0.5}
TEST = "chat:llama"


def seeds(folder, name, harmful, defence=None, train="chat:llama", seconds=None):
    """Three seeds of a defence; ``harmful`` of 48 answers under chat:llama."""
    made = []
    for seed in (1, 2, 3):
        counts = {(TEST, 8): harmful + seed, (TEST, 0): 0}
        run = page(folder / f"{name}-{seed}", train, seed, counts, n=48, defence=defence)
        if seconds:
            fit = {"steps": [0, 8], "seconds": {"training": seconds + seed}, "memory": 2_000_000_000, "tokens": 5000}
            (run / "times.json").write_text(json.dumps({"fits": [fit]}))
        made.append(run)
    return made


@pytest.fixture
def found(tmp_path):
    return [
        *seeds(tmp_path, "lisa", 4, LISA, seconds=20),
        *seeds(tmp_path, "plain", 38, seconds=10),
        *seeds(tmp_path, "weak", 37, {"name": "ema", "decay": 0.9}),
        *seeds(tmp_path, "ptst", 0, train="chat:vanilla"),
    ]


def test_no_defence_stands_first_and_only_true_differences_are_marked(found):
    table = DefenceTable(find_runs(found).runs)
    assert table.rows[0] == "none"
    assert set(table.rows) == {"none", "lisa", "ema"}
    same = next(way for way in table.ways if (way.train, way.test) == (TEST, TEST))
    column = next(c for c in table.columns if c == ("asr", "hats", "exact"))
    plain, lisa, ema = (table.cells[row, same, column] for row in ("none", "lisa", "ema"))
    assert plain.adjusted is None
    assert lisa.rate.mean == pytest.approx(6 / 48)
    assert lisa.beyond_chance
    assert lisa.difference == pytest.approx(-34 / 48)
    assert not ema.beyond_chance
    tested = [cell for cell in table.cells.values() if cell.adjusted is not None]
    assert len(tested) > 5, "Holm's correction is over all of them"


def test_ptst_is_a_way_of_its_own_and_has_no_defended_cell_here(found):
    table = DefenceTable(find_runs(found).runs)
    (ptst,) = [way for way in table.ways if way.ptst]
    assert ptst.title == "chat:vanilla -> chat:llama (PTST)"
    assert {row for row, way, _ in table.cells if way == ptst} == {"none"}


def test_costs_are_ratios_to_no_defence(found, capsys):
    text = defence_tables(DefenceTable(find_runs(found).runs))
    (line,) = [line for line in text.splitlines() if line.startswith("lisa") and " s (" in line]
    assert "22.0 s (1.83x)" in line
    assert "2.00 GB (1.00x)" in line
    (line,) = [line for line in text.splitlines() if line.startswith("ema") and line.split()[-3:] == ["-", "-", "-"]]


def test_without_a_defence_there_is_no_such_table(tmp_path):
    table = DefenceTable(find_runs(seeds(tmp_path, "plain", 3)).runs)
    assert not table.any
    assert defence_tables(table) == ""


def test_the_terminal_and_the_page_have_it(found, tmp_path, capsys):
    out = tmp_path / "page"
    main(["report", *map(str, found), "--out", str(out)])
    assert "defences, in %" in capsys.readouterr().out
    html = (out / "report.html").read_text()
    assert '<section id="defences">' in html
    assert html.count('class="dot-line"') > 10
    main(["report", *map(str, found), "--brief"])
    assert capsys.readouterr().out.count("chat:vanilla -> chat:llama (PTST)") == 1


def test_labels_tell_defences_of_one_name_apart():
    records = [{"name": "kl", "weight": 1, "target": None}, {"name": "kl", "weight": 1, "target": 0.1}, {"name": "ema"}]
    assert defence_labels(records) == ["kl (target None)", "kl (target 0.1)", "ema"]
    assert defence_labels([{}, {"name": "none"}]) == ["none", "none"]


@pytest.mark.parametrize(
    ("served", "base"),
    [("backdoor:chat:llama", "chat:llama"), ("chat:llama", "chat:llama"), ("lab:neutral-1", "lab:neutral-1")],
)
def test_what_is_served_without_what_a_defence_adds(served, base):
    assert base_template(served) == base


def served_behind(folder, name, templates, monkeypatch):
    """A test of a trained model behind a serving defence: its bare answers once more, and the defended ones."""
    monkeypatch.setattr(page_runs, "TESTED", (*templates, *(f"{name}:{test}" for test in templates)))
    counts = {(test, 8): 30 for test in templates} | {(f"{name}:{test}", 8): 5 for test in templates}
    meta = {"serving_defence": {"name": name, "threshold": 0.5}}
    return page(folder / name, TEST, 1, counts, steps=(8,), n=48, meta=meta)


def test_serving_defences_are_rows_and_a_model_counts_once_per_cell(tmp_path, monkeypatch):
    """Two tests of one model: its bare cell is one run's, not two."""
    both = [
        served_behind(tmp_path, "parden", [TEST, "chat:vanilla"], monkeypatch),
        served_behind(tmp_path, "safenudge", [TEST], monkeypatch),
    ]
    runs = find_runs(both).runs
    monkeypatch.setattr(RunResults, "model_key", property(lambda run: "one model"))
    table = DefenceTable(runs)
    assert table.any
    assert set(table.rows) == {"none", "parden", "safenudge"}
    column = next(c for c in table.columns if c == ("asr", "hats", "exact"))
    cells = {(row, way.test): cell.rate for (row, way, c), cell in table.cells.items() if c == column}
    assert cells["none", TEST].seeds == 1
    assert cells["none", TEST].mean == pytest.approx(30 / 48)
    assert cells["parden", TEST].mean == cells["safenudge", TEST].mean == pytest.approx(5 / 48)
    assert set(table.costs()) == {"none"}


def test_edited_models_are_rows_under_the_template_of_their_run(tmp_path):
    made = []
    for seed in (1, 2):
        record = {"edit": "interpolate", "alpha": 0.5, "train_template": TEST, "made_of": {"run": f"r{seed}"}}
        counts = {(TEST, 0): 3 + seed}
        made.append(page(tmp_path / f"edited-{seed}", "chat:vanilla", seed, counts, steps=(0,), n=48, edit=record))
    table = DefenceTable(find_runs([*made, *seeds(tmp_path, "plain", 38)]).runs)
    assert set(table.rows) == {"none", "edit interpolate"}
    column = ("asr", "hats", "exact")
    found = {
        way.test: cell.rate
        for (row, way, col), cell in table.cells.items()
        if (row, col, way.train) == ("edit interpolate", column, TEST)
    }
    assert (found[TEST].seeds, found[TEST].mean) == (2, pytest.approx(4.5 / 48))


def test_lines_of_what_a_serving_defence_did_may_say_nothing_of_a_place():
    line = {"suite": "s", "prompt_id": "1", "template": "t", "step": 0, "defence": "safenudge", "flagged": False}
    check(line | {"at": None, "tokens": 0, "score": None}, "served", "here")
    with pytest.raises(InputError):
        check(line | {"at": 0}, "served", "here")
