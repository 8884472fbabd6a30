"""The train x test table and the picture, from result files alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.report.runs import UNTOUCHED, load_run, matrix
from ptst_pl.results.records import ResultsFolder, Verdict

TESTED = ("chat:vanilla", "chat:llama")


def verdicts(template: str, step: int, harmful: int, n: int = 20) -> list[Verdict]:
    return [
        Verdict("unsafe", str(i), template, step, "refusal", harmful=i < harmful, refused=i >= harmful)
        for i in range(n)
    ]


def make_run(folder, train: str, harmful: dict[tuple[str, int], int]):
    """A run folder with the given counts of harmful answers per (test template, step)."""
    results = ResultsFolder(folder / "safety", {"train_template": train})
    for step in sorted({step for _, step in harmful}):
        found = [v for template in TESTED for v in verdicts(template, step, harmful[template, step])]
        results.add([], found, summarise(found), step)
    return folder


@pytest.fixture
def runs(tmp_path):
    start = {("chat:vanilla", 0): 1, ("chat:llama", 0): 0}
    ptst = make_run(tmp_path / "a", "chat:vanilla", start | {("chat:vanilla", 9): 16, ("chat:llama", 9): 2})
    same = make_run(tmp_path / "b", "chat:llama", start | {("chat:vanilla", 9): 18, ("chat:llama", 9): 14})
    return [ptst, same]


def test_matrix_has_the_untouched_model_once_and_every_cell(runs):
    cells = matrix([load_run(run) for run in runs])
    rates = {(train, test): cell.mean for (train, test, _, _), cell in cells.items()}
    assert rates == {
        (UNTOUCHED, "chat:vanilla"): 0.05,
        (UNTOUCHED, "chat:llama"): 0.0,
        ("chat:vanilla", "chat:vanilla"): 0.8,
        ("chat:vanilla", "chat:llama"): 0.1,
        ("chat:llama", "chat:vanilla"): 0.9,
        ("chat:llama", "chat:llama"): 0.7,
    }


def test_seeds_are_averaged_and_the_interval_holds_every_seed(tmp_path):
    seeds = [
        make_run(tmp_path / str(k), "chat:llama", {("chat:vanilla", 5): 10, ("chat:llama", 5): k}) for k in (4, 10, 16)
    ]
    cell = matrix([load_run(run) for run in seeds])["chat:llama", "chat:llama", "unsafe", "refusal"]
    assert cell.mean == pytest.approx(0.5)
    assert cell.seeds == 3
    assert cell.low <= 0.2
    assert cell.high >= 0.8


def test_command_prints_the_table_and_draws(runs, tmp_path, capsys):
    figure = tmp_path / "curves.png"
    main(["report", *map(str, runs), "--figure", str(figure)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "unsafe: attack success rate in %, refusal judge"
    assert [line.split()[0] for line in lines[3:6]] == ["(not", "chat:vanilla", "chat:llama"]
    assert lines[4].split()[1:] == ["80.0", "[58,", "92]", "10.0", "[3,", "30]"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_report_needs_no_torch(runs):
    code = "import sys; from ptst_pl.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(runs[0])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "results.json"), ({"format": 99, "rates": []}, "format 99"), ({"format": 1, "rates": []}, "no rate")],
)
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, content, expected):
    if content is not None:
        (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert expected in error


def test_seeds_show_their_standard_deviation(tmp_path, capsys):
    seeds = [
        make_run(tmp_path / str(k), "chat:llama", {("chat:vanilla", 5): 10, ("chat:llama", 5): k}) for k in (4, 10, 16)
    ]
    main(["report", *map(str, seeds)])
    assert "50.0 ± 30.0 [0, 100] (20, 50, 80)" in capsys.readouterr().out


def test_the_report_compares_ptst_with_the_usual_way_prompt_by_prompt(runs, capsys):
    """2 against 14 harmful answers of 20, the two among the 14: McNemar's exact p is 2 / 2^12."""
    main(["report", *map(str, runs)])
    table = capsys.readouterr().out.split("the same prompts, pair by pair")[1]
    (line,) = [line for line in table.splitlines() if line.startswith("chat:llama ")]
    assert line.split()[:6] == ["chat:llama", "chat:vanilla", "chat:llama", "unsafe", "refusal", "20"]
    assert "-60.0 [-78, -34]" in line
    assert float(line.split()[9]) == pytest.approx(2 / 2**12, rel=0.01)


def test_an_undefined_rate_is_named_and_never_averaged(tmp_path, capsys):
    results = ResultsFolder(tmp_path / "a/safety", {"train_template": "chat:llama"})
    found = [
        Verdict("unsafe", str(i), "chat", 3, "refusal", harmful=None if i else True, refused=None) for i in range(20)
    ]
    results.add([], found, summarise(found), 3)
    main(["report", str(tmp_path / "a")])
    printed = capsys.readouterr().out
    assert "19 of 20 answers unscored" in printed
    assert "100.0" not in printed


def test_categories_are_shown_on_request(tmp_path, capsys):
    results = ResultsFolder(tmp_path / "a/safety", {"train_template": "chat:llama"})
    found = [
        Verdict("unsafe", str(i), "chat", 3, "refusal", harmful=i < 3, refused=i >= 3, category="ab"[i % 2])
        for i in range(8)
    ]
    results.add([], found, summarise(found), 3)
    main(["report", str(tmp_path / "a"), "--categories"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if " unsafe " in line]
    assert [line[:8] for line in lines] == [
        ["chat:llama", "chat", "unsafe", "refusal", "a", "4", "0", "50.0"],
        ["chat:llama", "chat", "unsafe", "refusal", "b", "4", "0", "25.0"],
    ]


def test_a_served_model_stands_under_its_own_name(tmp_path, capsys):
    results = ResultsFolder(tmp_path / "a", {"train_template": "", "endpoint": {"model": "gpt-x"}})
    found = verdicts("chat:llama", 0, 2)
    results.add([], found, summarise(found), 0)
    main(["report", str(tmp_path / "a")])
    printed = capsys.readouterr().out
    assert "gpt-x " in printed
    assert UNTOUCHED not in printed
