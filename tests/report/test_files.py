"""Figures, CSV, Markdown and LaTeX have the numbers of the files; 20,000 answers fit; nothing heavy is loaded."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
import time

import pytest
from page_runs import HOSTILE, four, page
from test_page import unpack

from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.report import answers
from ptst_pl.report.curves import all_series, curve, curves_figure
from ptst_pl.report.discover import find_runs
from ptst_pl.report.figures import plain_text
from ptst_pl.report.matrix_panes import panes
from ptst_pl.report.runs import load_run
from ptst_pl.report.tables import results_csv, tables_markdown, tables_tex, tex
from ptst_pl.report.tradeoff import tracks, tradeoff_figure
from ptst_pl.results.records import Generation, ResultsFolder, Verdict


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    runs = four(folder / "sweep")
    main(["report", str(folder / "sweep"), "--out", str(folder / "out")])
    return runs, folder / "out"


def test_the_folder_has_everything(written):
    names = {str(p.relative_to(written[1])) for p in written[1].rglob("*") if p.is_file()}
    assert names == {"report.html", "results.csv", "tables.md", "tables.tex"} | {
        f"figures/{name}.{ending}"
        for ending in ("png", "svg")
        for name in (
            *("matrix-asr-hats-exact", "matrix-asr-hats-refusal", "matrix-over-refusal-washing-refusal"),
            *("matrix-helpfulness-howto-exact-match", "curves-asr-hats-exact", "curves-asr-hats-refusal"),
            *("curves-over-refusal-washing-refusal", "curves-helpfulness-howto-exact-match"),
            *("tradeoff-hats-exact-howto-exact-match", "tradeoff-hats-refusal-howto-exact-match"),
        )
    }


def test_curves_are_the_means_of_the_files(written):
    runs = [load_run(path) for path in written[0]]
    lines = curve(runs, "chat:vanilla", ("hats", "exact"))
    points = {(template, p.step): p.mean for template, own in lines.items() for p in own}
    assert points == {
        ("chat:vanilla", 0): 0.0, ("chat:llama", 0): 0.0,
        ("chat:vanilla", 8): pytest.approx(0.8), ("chat:llama", 8): pytest.approx(0.2),
    }  # fmt: skip


def test_what_is_drawn_are_the_points_in_per_cent(written):
    runs = [load_run(path) for path in written[0]]
    with plain_text():
        figure = curves_figure(runs, [("hats", "exact")], all_series(runs), columns=3)
    drawn = [[tuple(line.get_ydata()) for line in axis.get_lines()] for axis in figure.axes]
    assert [axis.get_title() for axis in figure.axes] == ["trained under chat:llama", "trained under chat:vanilla"][
        ::-1
    ]
    assert drawn[0] == [(0.0, pytest.approx(80)), (0.0, pytest.approx(20))]
    assert drawn[1] == [(0.0, pytest.approx(80)), (0.0, pytest.approx(80))]
    assert [list(axis.get_lines()[0].get_xdata()) for axis in figure.axes] == [[0, 8], [0, 8]]


def test_a_step_that_not_every_seed_has_is_not_drawn_but_named(tmp_path):
    page(tmp_path / "s" / "a", harmful={("chat:llama", 8): 2})
    page(tmp_path / "s" / "b", seed=2, steps=(0, 4, 8), harmful={("chat:llama", 4): 9, ("chat:llama", 8): 2})
    lines = curve(find_runs([tmp_path / "s"]).runs, "chat:vanilla", ("hats", "exact"))
    assert [point.step for point in lines["chat:llama"]] == [0, 8]
    main(["report", str(tmp_path / "s"), "--html", str(tmp_path / "page.html")])
    assert "trained under chat:vanilla: steps 4 are not drawn" in (tmp_path / "page.html").read_text()


def test_the_trade_off_pairs_the_steps_of_both(written):
    runs = [load_run(path) for path in written[0]]
    found = tracks(runs, "chat:llama", ("hats", "exact"), ("howto", "exact-match"))
    assert [(h.step, h.mean, a.mean) for h, a in found["chat:llama"]] == [
        (0, 0.7, 0.0), (8, 0.7, pytest.approx(0.8)),
    ]  # fmt: skip
    with plain_text():
        figure = tradeoff_figure(runs, ("hats", "exact"), ("howto", "exact-match"))
    assert len(figure.axes) == 2


def test_figures_are_the_same_bytes_again(tmp_path, written):
    main(["report", str(written[1].parent / "sweep"), "--out", str(tmp_path / "again")])
    for file in (written[1] / "figures").glob("*.svg"):
        assert file.read_bytes() == (tmp_path / "again" / "figures" / file.name).read_bytes()


def test_csv_gives_back_every_record(written):
    rows = list(csv.DictReader(io.StringIO((written[1] / "results.csv").read_text())))
    stored = [(path, r) for path in sorted(written[0]) for r in load_run(path).rates]
    assert len(rows) == len(stored)
    for row, (path, r) in zip(rows, stored, strict=True):
        assert row["run"] == str(path)
        assert (float(row["rate"]), int(row["k"]), int(row["n"])) == (r["rate"], r["k"], r["n"])
        assert (float(row["low"]), float(row["high"]), int(row["step"])) == (r["low"], r["high"], r["step"])
        assert row["trained_under"] == (load_run(path).train_template if r["step"] else "(not fine-tuned)")


def test_markdown_and_latex_have_mean_deviation_and_n(written):
    markdown, latex = ((written[1] / name).read_text() for name in ("tables.md", "tables.tex"))
    hats = markdown.split("### ")[1]
    assert hats.startswith("hats: attack success rate (%), exact judge")
    assert "| chat:vanilla | 80.0 ± 0.0 [49, 94] | **20.0 ± 14.1** [0, 63] |" in hats
    assert "n = 10 prompts; mean ± sample standard deviation over 2 runs; bold: PTST" in hats
    assert r"chat:vanilla & 80.0 $\pm$ 0.0 & \textbf{20.0 $\pm$ 14.1} \\" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{table}") == 4


def test_hostile_names_are_escaped_in_every_table(tmp_path):
    run = page(tmp_path / "run", harmful={("chat:llama", 8): 2})
    for name in HOSTILE:
        file = run / "safety" / "results.json"
        file.write_text(file.read_text().replace('"hats"', json.dumps(name)))
        shown = find_runs([run]).runs
        rows = list(csv.reader(io.StringIO(results_csv(shown))))
        assert {len(row) for row in rows} == {len(rows[0])}
        assert not [cell for row in rows for cell in row if cell[:1] in ("=", "@", "+")]
        pane = [p for p in panes(shown) if p.suite == name]
        table = tables_markdown(pane).split("\n\n")[1].splitlines()
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4}
        assert tables_tex(pane[:1]).count(r"\\") == 1 + len(pane[0].rows)
        file.write_text(file.read_text().replace(json.dumps(name), '"hats"'))


@pytest.mark.parametrize(("text", "wanted"), [("a_b", r"a\_b"), ("50 %", r"50 \%"), ("\\x", r"\textbackslash{}x")])
def test_latex_is_escaped(text, wanted):
    assert tex(text) == wanted


def big(folder, count, words=150):
    results = ResultsFolder(folder / "safety", {"train_template": "chat:vanilla"})
    source = random.Random(0)

    def text(k):
        return f"{k} " + " ".join(str(source.randrange(10**6)) for _ in range(words))

    made = [
        Generation("hats", str(k), "", f"question {k}", "chat:llama", f"[INST] {k}", text(k), "stop", 8, {})
        for k in range(count)
    ]
    found = [Verdict("hats", str(k), "chat:llama", 8, "exact", k % 3 == 0, k % 3 > 0) for k in range(count)]
    results.add(made, found, summarise(found), 8)
    return folder


def test_twenty_thousand_answers_are_one_page_below_30_mb(tmp_path):
    run, began = big(tmp_path / "run", 20_000), time.monotonic()
    main(["report", str(run), "--html", str(tmp_path / "page.html")])
    assert time.monotonic() - began < 60
    assert (tmp_path / "page.html").stat().st_size < 30e6
    assert not (tmp_path / "page-2.html").exists()
    assert len(unpack((tmp_path / "page.html").read_text())[1]) == 20_000


def test_more_answers_go_to_linked_pages_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "MOST_ROWS", 40)
    run = big(tmp_path / "run", 100)
    main(["report", str(run), "--html", str(tmp_path / "page.html")])
    pages = [tmp_path / name for name in ("page.html", "page-2.html", "page-3.html")]
    found = [unpack(path.read_text()) for path in pages]
    assert [len(rows) for _, rows in found] == [40, 40, 20]
    assert len({texts[row[6]] for texts, rows in found for row in rows}) == 100
    assert 'href="page-3.html"' in pages[0].read_text()
    monkeypatch.setattr(answers, "MOST_ROWS", 100)
    main(["report", str(run), "--html", str(tmp_path / "page.html")])
    assert [path.exists() for path in pages] == [True, False, False]


def test_long_answers_fill_further_pages_too(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "MOST_BYTES", 20_000)
    main(["report", str(big(tmp_path / "run", 60)), "--html", str(tmp_path / "page.html")])
    assert (tmp_path / "page-2.html").exists()


def test_the_table_loads_nothing_heavy(written):
    heavy = "torch transformers lightning scipy matplotlib pandas"
    code = (
        "import sys; from ptst_pl.cli import main; main(sys.argv[1:]); "
        f"assert not set('{heavy}'.split()) & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(written[0][0])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--html", "page.txt"], "expected a file name ending in .html"),
        (["--figure", "x.pdf"], "expected a name ending in .png or .svg"),
    ],
)
def test_wrong_names_are_one_line(written, capsys, options, words):
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(written[0][0]), *options])
    error = capsys.readouterr().err
    assert (stopped.value.code, error.count("\n")) == (2, 1)
    assert words in error
