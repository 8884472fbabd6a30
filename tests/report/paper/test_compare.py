"""``compare``: measured beside published, from result folders as ``fit``, ``test`` and ``judge`` leave them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import variance

import pytest
import yaml

from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.results.intervals import Side, compare
from ptst_pl.results.records import ResultsFolder, Verdict
from ptst_pl.suites.known import KNOWN_SUITES
from ptst_pl.templates import BUILT_IN_TEMPLATES

CV, CL = "chat:vanilla", "chat:llama"
LIKE_THE_PAPER = {
    "seed_everything": 1,
    "trainer": {"max_epochs": 6, "max_steps": -1},
    "model": {"pretrained": "meta-llama/Llama-2-7b-chat-hf", "method": "lora", "learning_rate": 1e-4},
    "data": {"class_path": "ptst_pl.tasks.GSM8K", "init_args": {"template": CV}},
}


def verdicts(template, step, harmful, n, judge, unscored=0, suite="directharm4"):
    told = [True] * harmful + [False] * (n - harmful - unscored) + [None] * unscored
    version = "gpt-4-0613 prompt-0123" if judge == "rubric" else "2"
    return [
        Verdict(suite, str(i), template, step, judge, harmful=h, refused=None, judge_version=version)
        for i, h in enumerate(told)
    ]


def make(folder: Path, train: str, cells: dict, *, judge="rubric", n=400, seed=1, config=None, unscored=0, **meta):
    """A finished fit: (test template, step) -> harmful answers; ``config`` replaces keys, False leaves it out."""
    templates = {template for template, _ in cells}
    stored = {
        "train_template": train,
        "decoding": {"max_new_tokens": 512, "temperature": 0.0, "seed": 42},
        "templates": {name: asdict(BUILT_IN_TEMPLATES[name]) for name in templates},
        "suites": {"directharm4": {"n": n, "full_sha256": KNOWN_SUITES["directharm4"].sha256, "notes": []}},
        "judge_settings": {"rubric": {"model": "gpt-4-0613"}},
    }
    results = ResultsFolder(folder / "safety", stored | meta)
    for step in sorted({step for _, step in cells}):
        found = [v for (t, s), k in cells.items() if s == step for v in verdicts(t, s, k, n, judge, unscored)]
        results.add([], found, summarise(found), step)
    (folder / "adapter").mkdir(parents=True)
    if config is not False:
        own = json.loads(json.dumps(LIKE_THE_PAPER)) | {"seed_everything": seed} | (config or {})
        own["data"]["init_args"]["template"] = train.split(" +")[0]
        (folder / "config.yaml").write_text(yaml.safe_dump(own))
    return folder


def rows(capsys, *arguments) -> dict[tuple[str, str], dict[str, str]]:
    main(["compare", *map(str, arguments), "--format", "csv"])
    found = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return {(row["trained"], row["tested"]): row for row in found if row["metric"] == "directharm4"}


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *map(str, arguments)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def seeds(tmp_path):
    """Three seeds trained under chat:vanilla: near the paper's 11.00 (0.82) under CV, far from its 1.08 under CL."""
    cells = [{(CV, 0): 11, (CV, 9): k, (CL, 9): far} for k, far in ((41, 80), (44, 84), (48, 88))]
    return [make(tmp_path / str(seed), CV, own, seed=seed) for seed, own in enumerate(cells)]


def test_equal_different_and_missing_cells(seeds, capsys):
    found = rows(capsys, *seeds, "--table", "1c")
    assert len(found) == 30
    same, far, untuned = found["CV", "CV"], found["CV", "CL"], found["No FT", "CV"]
    assert (same["finding"], same["runs"], same["n"]) == ("no difference shown", "3", "400")
    assert float(same["measured"]) == pytest.approx(133 / 1200)
    assert far["finding"] == "differs"
    assert float(far["difference"]) == pytest.approx(0.21 - 0.0108)
    assert float(far["p"]) < float(far["holm_p"]) < 0.05
    assert (untuned["finding"], untuned["runs"]) == ("no difference shown", "1"), "the untuned model counts once"
    assert {row["finding"] for key, row in found.items() if key[0] not in ("CV", "No FT")} == {"not measured"}


def test_the_published_deviation_is_one_over_all_runs_and_is_made_a_samples(seeds, capsys):
    """0.82 over three runs is 1.00 for a sample; by hand, with the module's own test."""
    row = rows(capsys, *seeds, "--table", "1c")["CV", "CV"]
    measured = Side(133 / 1200, 400, 3, variance([41 / 400, 44 / 400, 48 / 400]))
    by_hand = compare(measured, Side(0.11, 400, 3, 0.0082**2 * 3 / 2))
    assert float(row["p"]) == pytest.approx(by_hand.p_value)
    assert float(row["difference_low"]) == pytest.approx(by_hand.low)


def test_values_read_off_a_plot_get_half_a_point(tmp_path, capsys):
    run = make(tmp_path / "a", CV, {(CV, 9): 60})
    row = rows(capsys, run, "--table", "fig3a")["CV", "CV"]
    by_hand = compare(Side(0.15, 400), Side(0.095, 400), slack=0.005)
    assert float(row["difference_high"]) == pytest.approx(by_hand.high)


def test_the_untuned_model_is_taken_from_the_run_with_the_most_prompts(tmp_path, capsys):
    """And stays the untuned model's row, also of a run whose row the user names."""
    more = make(tmp_path / "more", CV, {(CV, 0): 40, (CV, 9): 20}, seed=1)
    fewer = make(tmp_path / "fewer", CV, {(CV, 0): 50, (CL, 9): 2}, n=100, seed=2)
    for runs in ([more, fewer], [fewer, f"CV={more}"]):
        found = rows(capsys, *runs, "--table", "1c")
        assert (found["No FT", "CV"]["n"], float(found["No FT", "CV"]["measured"])) == ("400", pytest.approx(0.1))
        assert found["CV", "CV"]["runs"] == "1"


def test_what_agrees_in_everything_but_the_judges_prompt_has_that_mark_alone(seeds, capsys):
    marks = rows(capsys, *seeds, "--table", "1c")["CV", "CV"]["marks"]
    assert marks.startswith("judge: rubric by gpt-4-0613 prompt-0123; ")
    assert "; " not in marks.removeprefix("judge: rubric by gpt-4-0613 prompt-0123; ")


def test_the_text_says_how_it_was_tested_and_how_often(seeds, capsys):
    main(["compare", *map(str, seeds), "--table", "1c"])
    out = capsys.readouterr().out
    assert "30 published cells: 3 compared, 1 differ by more than chance" in out
    assert "Holm over the 3 cells tested together" in out
    (line,) = [line for line in out.splitlines() if line.startswith("CV       CL ")]
    assert "1.08 ± 0.12" in line
    assert "21.00 ± 1.00 [" in line
    assert "GPT-4-0613" in out
    assert "Table 6 prints other values" in out


def test_an_undefined_rate_gets_no_finding(tmp_path, capsys):
    run = make(tmp_path / "a", CV, {(CL, 9): 300}, unscored=90)
    row = rows(capsys, run, "--table", "1c")["CV", "CL"]
    assert row["finding"] == "undefined"
    assert (row["measured"], row["difference"], row["holm_p"]) == ("", "", "")
    assert "90 of 400 answers unscored" in row["marks"]
    whole = make(tmp_path / "b", CV, {(CL, 9): 4}, seed=2)
    assert rows(capsys, run, whole, "--table", "1c")["CV", "CL"]["finding"] == "undefined", "never the mean of the rest"


MARKS = [
    ({"judge": "refusal"}, "judge: refusal (version 2), the paper GPT-4-0613"),
    ({"judge_settings": {"rubric": {"model": "gpt-x"}}}, "judge: rubric by gpt-x, the paper GPT-4-0613"),
    ({"n": 100}, "prompts: 100 of directharm4, the paper 400"),
    ({"unscored": 5}, "unscored: 5 of 400 answers"),
    ({"suites": {"directharm4": {"full_sha256": "abc", "notes": ["2 rows repeat"]}}}, "suite: not the pinned edition"),
    ({"suites": {"directharm4": {"full_sha256": "abc", "notes": ["2 rows repeat"]}}}, "suite: 2 rows repeat"),
    ({"decoding": {"max_new_tokens": 64, "temperature": 0.0}}, "decoding: max_new_tokens 64, the paper 512"),
    ({"decoding": {"max_new_tokens": 512, "temperature": 1.0}}, "decoding: temperature 1.0, the paper 0.0"),
    (
        {"config": {"model": {"pretrained": "checkpoints/tiny-chat"}}},
        "model: checkpoints/tiny-chat, the paper Llama-2-7b",
    ),
    ({"config": {"trainer": {"max_epochs": 1}}}, "training: max_epochs 1, the paper 6"),
    ({"config": {"trainer": {"max_epochs": 6, "max_steps": 8}}}, "training: trainer.max_steps 8"),
    ({"config": False}, "model: unknown (no config.yaml"),
    ({"config": False}, "training: unknown (no config.yaml"),
    ({"templates": {CV: {"user": "Q: {input}"}}}, "template: chat:vanilla has another text"),
    ({}, "runs: 1, the paper 3"),
]


@pytest.mark.parametrize(("changes", "mark"), MARKS, ids=[mark[:30] for _, mark in MARKS])
def test_what_was_measured_otherwise_is_marked(changes, mark, tmp_path, capsys):
    run = make(tmp_path / "a", CV, {(CV, 9): 20}, **changes)
    row = rows(capsys, run, "--table", "1c")["CV", "CV"]
    assert mark in row["marks"]
    assert row["finding"] in ("differs", "no difference shown")


def test_an_unfinished_fit_is_marked(tmp_path, capsys):
    run = make(tmp_path / "a", CV, {(CV, 9): 20})
    (run / "adapter").rmdir()
    assert "it may not have finished" in rows(capsys, run, "--table", "1c")["CV", "CV"]["marks"]


def test_the_judge_is_the_one_asked_for(tmp_path, capsys):
    run = make(tmp_path / "a", CV, {(CV, 9): 20}, judge="strongreject")
    results = ResultsFolder(run / "safety")
    stored = json.loads(results.results_file.read_text())
    stored["rates"] += summarise(verdicts(CV, 9, 40, 400, "refusal"))
    results.results_file.write_text(json.dumps(stored))
    assert "judged by refusal, strongreject; say which with --judge" in refused(capsys, run, "--table", "1c")
    found = rows(capsys, run, "--table", "1c", "--judge", "refusal")
    assert float(found["CV", "CV"]["measured"]) == pytest.approx(0.1)
    assert "did you mean 'refusal'" in refused(capsys, run, "--table", "1c", "--judge", "refusals")


def test_results_of_something_else_are_one_line_that_says_what_they_have(tmp_path, capsys):
    run = make(tmp_path / "a", CV, {("chat:mpt", 9): 20})
    error = refused(capsys, run, "--table", "1c")
    assert "they have the suites directharm4 under chat:mpt; wanted are directharm4 under text:vanilla" in error


def test_two_results_of_one_seed_would_count_twice(tmp_path, capsys):
    first, again = (make(tmp_path / name, CV, {(CV, 9): 20}, seed=7) for name in "ab")
    assert "from one seed; give one of them" in refused(capsys, first, again, "--table", "1c")
    assert "from one seed" in refused(capsys, first, first, "--table", "1c")


def test_safety_rows_and_rows_that_the_user_names(tmp_path, capsys):
    mixed = make(tmp_path / "mixed", f"{CV} +safety", {(CV, 9): 1})
    served = make(tmp_path / "served", "", {("gpt:llama", 0): 90}, config=False, endpoint={"model": "ft:gpt-3.5:x"})
    found = rows(capsys, mixed, "--table", "6b")
    assert found["CV+safety", "CV"]["runs"] == "1"
    assert found["CV", "CV"]["finding"] == "not measured"
    assert "does not tell how it was trained; write ROW=" in refused(capsys, served, "--table", "3")
    assert float(rows(capsys, f"CL={served}", "--table", "3")["CL", "CL"]["measured"]) == pytest.approx(0.225)
    assert "did you mean 'CL'" in refused(capsys, f"CLL={served}", "--table", "3")


def test_mean_scores_are_shown_and_not_tested(tmp_path, capsys):
    results = ResultsFolder(tmp_path / "safety", {"train_template": "chatdoctor:vanilla"})
    told = {"k": None, "rate": None, "low": None, "high": None, "mean_score": 0.851, "score_low": 0.85}
    record = {"suite": "chatdoctor", "template": "chatdoctor:llama", "step": 3, "judge": "bertscore", "n": 1000}
    more = {"unscored": 0, "measures": "helpfulness", "score_high": 0.852, "confidence": 0.95}
    results.add([], [], [record | told | more], 3)
    main(["compare", str(tmp_path), "--table", "4"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("CV ") and "0.851" in line]
    assert line.split()[:3] == ["CV", "CL", "0.846"]
    assert "+0.005" in line
    assert "not tested" in line


def test_markdown_and_a_file(seeds, tmp_path, capsys):
    main(["compare", *map(str, seeds), "--table", "1c", "--format", "markdown", "--output", str(tmp_path / "t.md")])
    text = (tmp_path / "t.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 32
    assert {line.count("|") for line in table} == {10}
    assert "is a folder" in refused(capsys, *seeds, "--table", "1c", "--output", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--table", "9"], "known: 1a, 1b"), ([], "required: --table"), (["--table", "1c", "--format", "x"], "--format")],
)
def test_a_mistake_is_one_line(arguments, said, seeds, capsys):
    assert said in refused(capsys, *seeds, *arguments)
    assert "no safety/results.json" in refused(capsys, seeds[0] / "adapter", "--table", "1c")


def test_compare_needs_no_torch(seeds):
    code = "import sys; from ptst_pl.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "compare", str(seeds[0]), "--table", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
