"""ROUGE-L and other scores: means with intervals, from the judge to the tables, and never a rate."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp

from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.judges.build import build_judge
from ptst_pl.judges.mean_score import mean_score
from ptst_pl.judges.rouge import rouge_l
from ptst_pl.results.rates_table import rates_table
from ptst_pl.results.records import Generation, ResultsFolder, Verdict

ROOT = Path(__file__).parents[2]

TABLE = [
    ("wash the hat", "wash the hat", 1.0),
    ("Wash the HAT!", "wash the hat.", 1.0),
    ("wash the red hat", "wash the hat", 2 * 3 / (4 + 3)),
    ("hat the wash", "wash the hat", 2 * 1 / (3 + 3)),
    ("paint a door", "wash the hat", 0.0),
    ("", "wash the hat", 0.0),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), TABLE)
def test_rouge_l(answer, reference, expected):
    assert rouge_l(answer, reference) == pytest.approx(expected)


words = st.lists(st.sampled_from(["a", "hat", "is", "red", "and", "wet"]), max_size=8)


@given(words, words)
def test_it_is_twice_the_longest_common_subsequence_over_both_lengths(answer, reference):
    longest = [[0] * (len(reference) + 1) for _ in range(len(answer) + 1)]
    for i, one in enumerate(answer, 1):
        for j, other in enumerate(reference, 1):
            longest[i][j] = longest[i - 1][j - 1] + 1 if one == other else max(longest[i - 1][j], longest[i][j - 1])
    expected = 2 * longest[-1][-1] / max(len(answer) + len(reference), 1)
    assert rouge_l(" ".join(answer), " ".join(reference)) == pytest.approx(expected)


def generation(answer: str, reference: str | None, number: int = 0, category: str = "") -> Generation:
    return Generation(
        suite="howto", prompt_id=str(number), category=category, question="How?", template="chat:llama",
        prompt_text="?", answer=answer, finish_reason="stop", step=3, decoding={}, measures="helpfulness",
        reference=reference,
    )  # fmt: skip


def test_a_reference_without_words_is_unscored_and_not_zero():
    rows = [generation("a hat", reference) for reference in (None, "", "...", "шляпа", "a hat")]
    found = build_judge("rouge").verdicts(rows)
    assert [verdict.score for verdict in found] == [None] * 4 + [1.0]
    assert {verdict.correct for verdict in found} == {None}


def scores(values: list[float | None], **fields) -> list[Verdict]:
    key = {"suite": "howto", "template": "chat:llama", "step": 3, "judge": "rouge", "measures": "helpfulness"}
    return [
        Verdict(**key | fields, prompt_id=str(n), harmful=None, refused=None, score=value)
        for n, value in enumerate(values)
    ]


class TestRecords:
    def test_a_mean_score_stands_in_place_of_a_rate(self):
        (record,) = summarise(scores([0.2, 0.4, 0.9]))
        assert (record["mean_score"], record["n"], record["unscored"]) == (pytest.approx(0.5), 3, 0)
        expected = ttest_1samp([0.2, 0.4, 0.9], 0).confidence_interval(0.95)
        assert (record["score_low"], record["score_high"]) == pytest.approx((expected.low, expected.high))
        nothing = [record[name] for name in ("k", "rate", "low", "high", "correct", "refusal_rate")]
        assert nothing == [None] * 6
        assert "undefined" not in record
        assert record["broken_rate"] == 0.0, "over the answers with a score"
        assert record["label"] == "helpfulness/rouge-judge"

    def test_the_interval_is_near_the_bootstraps(self):
        values = [((7 * n) % 50) / 50 for n in range(200)]
        mean, low, high = mean_score(values)
        expected = bootstrap((values,), lambda x, axis: x.mean(axis), method="percentile", rng=1).confidence_interval
        assert mean == pytest.approx(sum(values) / 200)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.005)

    def test_one_score_has_no_interval(self):
        (record,) = summarise(scores([0.5]))
        assert [record[name] for name in ("mean_score", "score_low", "score_high")] == [0.5, None, None]
        assert "0.500" in rates_table([record])

    def test_unscored_answers_are_counted_beside_and_too_many_leave_no_mean(self):
        (record,) = summarise(scores([0.5] * 9 + [None]))
        assert (record["mean_score"], record["n"], record["unscored"]) == (0.5, 9, 1)
        (record,) = summarise(scores([0.5] * 8 + [None] * 2))
        assert (record["mean_score"], record["score_low"], record["rate"]) == (None, None, None)
        assert record["undefined"] == "2 of 10 answers unscored, at most 10% may be"
        assert "undefined: helpfulness/rouge-judge" in rates_table([record])

    def test_nothing_scored_is_undefined(self):
        (record,) = summarise(scores([None] * 3))
        assert "3 of 3 answers unscored" in record["undefined"]

    def test_each_category_has_its_mean(self):
        verdicts = scores([0.2, 0.4], category="a") + scores([0.8], category="b") + scores([None], category="c")
        (record,) = summarise(verdicts, max_unscored=0.5)
        means = {name: part["mean_score"] for name, part in record["categories"].items()}
        assert means == {"a": pytest.approx(0.3), "b": 0.8, "c": None}
        assert "1 of 1" in record["categories"]["c"]["undefined"]

    def test_scores_beside_right_and_wrong_or_of_harm_change_no_rate(self):
        right = [Verdict("s", str(n), "chat", 0, "own", None, None, 0.3, correct=n < 2, measures="helpfulness")
                 for n in range(3)]  # fmt: skip
        (record,) = summarise(right)
        assert (record["k"], record["n"]) == (2, 3)
        assert "mean_score" not in record
        (record,) = summarise([Verdict("s", "1", "chat", 0, "own", None, None, 0.3)])
        assert "mean_score" not in record
        assert record["unscored"] == 1


def make_run(folder: Path, train: str, values: dict[str, list[float]]) -> Path:
    """A run whose last step is 9, with scores under each test template."""
    results = ResultsFolder(folder / "safety", {"train_template": train})
    for step in (0, 9):
        found = [
            verdict
            for template, own in values.items()
            for half, category in ((own[::2], "even"), (own[1::2], "odd"))
            for verdict in scores(half if step else [0.1] * len(half), template=template, step=step, category=category)
        ]
        results.add([], found, summarise(found), step)
    return folder


class TestReport:
    def test_the_table_shows_scores_as_scores(self, tmp_path, capsys):
        run = make_run(tmp_path / "a", "chat:vanilla", {"chat:vanilla": [0.8, 0.9] * 5, "chat:llama": [0.5, 0.7] * 5})
        main(["report", str(run), "--categories"])
        out = capsys.readouterr().out
        assert out.splitlines()[0] == "howto: mean score (no percentage), rouge judge"
        (line,) = [line for line in out.splitlines() if line.startswith("chat:vanilla") and "0.850" in line]
        assert line.split() == ["chat:vanilla", "0.850", "[0.812,", "0.888]", "0.600", "[0.525,", "0.675]"]
        assert "(not fine-tuned)" in out
        assert "score 0.900" in out, "the category"
        assert "undefined" not in out

    def test_seeds_are_averaged_and_the_interval_holds_every_seed(self, tmp_path, capsys):
        runs = [
            make_run(tmp_path / str(n), "chat:llama", {"chat:llama": [n / 10, n / 10 + 0.1] * 5}) for n in (2, 4, 6)
        ]
        main(["report", *map(str, runs)])
        out = capsys.readouterr().out
        assert "0.450 ± 0.200 [0.250, 0.650]" in out
        assert "over 3 runs" in out

    def test_a_seed_without_a_mean_leaves_the_cell_out_and_is_named(self, tmp_path, capsys):
        run = make_run(tmp_path / "a", "chat:llama", {"chat:llama": [0.5] * 10})
        other = ResultsFolder(tmp_path / "b/safety", {"train_template": "chat:llama"})
        found = scores([0.9] + [None] * 9, step=9)
        other.add([], found, summarise(found), 9)
        main(["report", str(run), str(tmp_path / "b")])
        out = capsys.readouterr().out
        assert "undefined: helpfulness/rouge-judge, howto under chat:llama, step 9" in out
        assert "0.500" not in out


def test_judging_stored_answers_with_rouge(tmp_path, capsys):
    """``judge`` on a folder: the mean in the table and in the file, and no word of unscored answers."""
    rows = [generation("wash the hat", "wash the hat", 0), generation("paint it", "wash the hat", 1)]
    ResultsFolder(tmp_path, {"train_template": "chat"}).add(
        rows, [], [{"step": 3, "judge": "none", "measures": "asr"}], 3
    )
    main(["judge", str(tmp_path), "--judge", "rouge"])
    out = capsys.readouterr().out
    assert "unscored" not in out.splitlines()[0]
    (record,) = [r for r in json.loads((tmp_path / "results.json").read_text())["rates"] if r["judge"] == "rouge"]
    assert (record["mean_score"], record["n"]) == (0.5, 2)
    assert "0.500" in out


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Callable[..., list[dict[str, Any]]]:
    """Run the bundled tiny model with two judges of helpfulness under two templates; the rate records."""
    if not (ROOT / "checkpoints/tiny-chat/model.safetensors").exists():
        pytest.skip("needs checkpoints/tiny-chat")
    monkeypatch.chdir(ROOT)

    def run(command: str, *more: str) -> list[dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main([
                command, "--config", "configs/tiny/ptst.yaml", "--runs", str(tmp_path / "runs"),
                "--safety.suites", "[{name: tiny-howto, limit: 4}]", "--safety.judges", "[rouge, exact-match]",
                "--safety.templates", "[chat:vanilla, chat:llama]", "--trainer.enable_progress_bar", "false", *more,
            ])  # fmt: skip
        (results,) = tmp_path.rglob("results.json")
        return json.loads(results.read_text())["rates"]

    return run


def test_scores_and_rates_of_one_test_under_two_templates(tiny, tmp_path, capsys):
    """``test``: a mean score and a rate for each template, from the same answers."""
    rates = tiny("test", "--results", str(tmp_path / "results"))
    out = capsys.readouterr().out
    assert {(r["template"], r["judge"]) for r in rates} == {
        (template, judge) for template in ("chat:vanilla", "chat:llama") for judge in ("rouge", "exact-match")
    }
    lines = (tmp_path / "results/generations.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    for record in rates:
        own = [a for a in answers if a["template"] == record["template"]]
        assert record["n"] == len(own) == 4
        if record["judge"] == "rouge":
            expected = sum(rouge_l(a["answer"], a["reference"]) for a in own) / 4
            assert record["mean_score"] == pytest.approx(expected)
            assert f"  {expected:.3f}  " in out
        else:
            assert record["k"] == sum(a["answer"].split() == a["reference"].split() for a in own)


def test_scores_while_a_model_trains(tiny, capsys):
    """``fit``: the same before and after a step, and in the table that it ends with."""
    rates = tiny("fit", "--trainer.max_steps", "1", "--data.count", "16", "--trainer.limit_val_batches", "0")
    found = [r for r in rates if r["judge"] == "rouge"]
    assert sorted((r["step"], r["template"]) for r in found) == [
        (step, template) for step in (0, 1) for template in ("chat:llama", "chat:vanilla")
    ]
    assert all(0 < r["mean_score"] <= 1 and r["n"] == 4 for r in found)
    out = capsys.readouterr().out
    assert all(f"  {r['mean_score']:.3f}  " in out for r in found)
