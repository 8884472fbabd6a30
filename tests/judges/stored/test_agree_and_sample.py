"""``ptst_pl sample``, a person's labels, ``ptst_pl judge`` and ``ptst_pl agree``: the whole way round."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections import Counter

import pytest
from stored_run import EVASION, HELP, REFUSAL, fill, generation, stored

from ptst_pl.cli import main
from ptst_pl.judges import ExactJudge, RefusalJudge


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def label(path, harmful):
    """Fill in a sheet as a person would."""
    rows = read(path)
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows([row | {"harmful": harmful(row["answer"]), "refused": ""} for row in rows])


def blocks(text):
    """Tables of an output: title or head -> lines."""
    return {block.splitlines()[0]: block.splitlines() for block in text.split("\n\n") if block.strip()}


class TestAgree:
    def test_tables(self, judged, capsys):
        main(["agree", str(judged), "--reference", "exact"])
        out = capsys.readouterr().out
        asr, mild = out.split("\n\n\n")
        found = blocks(asr)
        assert "attack success (harmful or not): 24 answers, step 0, 10" in found
        # Of 24: 6 x harmful by both, 6 x evasion (harmful for the refusal judge only), 12 x refusal.
        table = found["refusal \\ exact  harmful  not harmful  unscored"]
        assert [line.split()[-3:] for line in table[2:]] == [["6", "6", "0"], ["0", "12", "0"], ["0", "0", "0"]]
        (line,) = [line.split() for line in asr.splitlines() if line.startswith("all")]
        # Observed 18/24, by chance (12 * 6 + 12 * 18) / 24^2 = 1/2.
        assert line[:7] == ["all", "refusal", "exact", "24", "0", "75.0", "0.50"]
        reference = found["against the exact judge (Wilson intervals, as if all answers were independent)"][-1].split()
        assert reference[:4] == ["refusal", "24", "0", "50.0"]
        assert "100.0 [69, 100] of 6" in asr
        assert "judges differ on 6 of 24 answers:" in found
        assert "over-refusal (refused or not): 12 answers" in mild
        assert "1.00" in mild
        assert "nan" not in out

    def test_rows_and_csv(self, judged, tmp_path, capsys):
        main(["agree", str(judged), "--rows", "2", "--csv", str(tmp_path / "d.csv"), "--step", "10"])
        out = capsys.readouterr().out
        assert "12 answers, step 10" in out
        assert "judges differ on 4 of 12 answers; the first 2:" in out
        assert out.count(EVASION) == 2
        rows = read(tmp_path / "d.csv")
        assert [(row["suite"], row["step"], row["refusal"], row["exact"], row["answer"]) for row in rows] == [
            ("hats", "10", "harmful", "not harmful", EVASION)
        ] * 4

    def test_by_suite(self, tmp_path, capsys):
        def two_suites(step):
            first = [generation(i, step=step, answer=a) for i, a in enumerate([HELP, REFUSAL])]
            return first + [generation(i, "coats", step=step, answer=a) for i, a in enumerate([HELP, EVASION])]

        fill(tmp_path, [RefusalJudge(), ExactJudge()], (0,), two_suites)
        main(["agree", str(tmp_path)])
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [line[:7] for line in lines if line[:1] in (["all"], ["hats"], ["coats"])][:3] == [
            ["all", "refusal", "exact", "4", "0", "75.0", "0.50"],
            ["hats", "refusal", "exact", "2", "0", "100.0", "1.00"],
            ["coats", "refusal", "exact", "2", "0", "50.0", "0.00"],
        ]

    def test_constant_judges_have_no_kappa_and_the_table_says_so(self, tmp_path, capsys):
        fill(tmp_path, [RefusalJudge(), ExactJudge()], (0,), lambda step: [generation(i) for i in range(5)])
        main(["agree", str(tmp_path)])
        out = capsys.readouterr().out
        assert "undefined where both judges call every answer 'not harmful'" in out
        assert "nan" not in out

    def test_control_characters_of_an_answer_do_not_reach_the_terminal(self, tmp_path, capsys):
        fill(
            tmp_path, [RefusalJudge(), ExactJudge()], (0,),
            lambda step: [generation(1, answer=HELP), generation(2, answer="Hats\x1b[2J\nare\u202e fine")],
        )  # fmt: skip
        main(["agree", str(tmp_path)])
        out = capsys.readouterr().out
        assert "Hats�[2J are� fine" in out

    @pytest.mark.parametrize(
        ("argv", "expected"),
        [
            (["--judges", "refusal", "exakt"], "no verdicts of judge 'exakt' in the folder; did you mean 'exact'?"),
            (["--judges", "exact"], "one judge only (exact); add another with 'ptst_pl judge'"),
            (["--reference", "human"], "no verdicts of judge 'human'"),
            (["--step", "7"], "--step 7: the folder has step 0, 10"),
        ],
    )
    def test_bad_arguments_are_one_line(self, judged, refused, argv, expected):
        assert expected in refused("agree", judged, *argv)

    @pytest.mark.parametrize("words", [["agree"], ["judge", "--judge", "refusal"]], ids=["agree", "judge"])
    def test_needs_no_torch(self, judged, words):
        code = "import sys; from ptst_pl.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
        done = subprocess.run(
            [sys.executable, "-c", code, *words, str(judged)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestSample:
    def test_every_stratum_is_in_it_and_weights_add_up(self, judged, tmp_path, capsys):
        main(["sample", str(judged), "--n", "14", "--output", str(tmp_path / "s.csv")])
        out = capsys.readouterr().out
        assert "14 of 36 answers, from 10 of 10 strata; on 4 of them two judges disagree" in out
        key = read(tmp_path / "s.key.csv")
        assert sum(float(row["weight"]) for row in key) == pytest.approx(36)
        assert {(r["suite"], r["template"], r["verdicts"]) for r in key} == {
            *(("hats", t, v) for t in ("chat:vanilla", "chat:llama")
              for v in ("refusal yes, exact yes", "refusal yes, exact no", "refusal no, exact no")),
            *(("washing", t, v) for t in ("chat:vanilla", "chat:llama")
              for v in ("refusal yes, exact yes", "refusal no, exact no")),
        }  # fmt: skip

    def test_too_small_a_sample_prefers_disagreement_and_says_what_is_missing(self, judged, tmp_path, capsys):
        main(["sample", str(judged), "--n", "2", "--output", str(tmp_path / "s.csv")])
        assert "8 strata have no row" in capsys.readouterr().out
        assert {row["answer"] for row in read(tmp_path / "s.csv")} == {EVASION}

    def test_it_is_blind_unless_told_otherwise(self, judged, tmp_path):
        main(["sample", str(judged), "--output", str(tmp_path / "blind.csv")])
        main(["sample", str(judged), "--show", "--output", str(tmp_path / "open.csv")])
        assert list(read(tmp_path / "blind.csv")[0]) == ["row", "question", "answer", "harmful", "refused", "note"]
        text = (tmp_path / "blind.csv").read_text()
        assert not [word for word in ("chat:", "hats-", "exact", "refusal ") if word in text]
        shown = read(tmp_path / "open.csv")[0]
        assert list(shown)[:6] == ["row", "suite", "prompt_id", "template", "step", "verdicts"]

    def test_the_seed_decides_alone(self, judged, tmp_path):
        generations = judged / "safety" / "generations.jsonl"
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            main(["sample", str(judged), "--n", "12", "--seed", str(seed), "--output", str(tmp_path / f"{name}.csv")])
            generations.write_text("".join(f"{line}\n" for line in reversed(generations.read_text().splitlines())))
        texts = [(tmp_path / f"{name}.csv").read_text() for name in "abc"]
        assert texts[0] == texts[1] != texts[2]

    def test_more_than_there_is_gives_all(self, judged, tmp_path):
        main(["sample", str(judged), "--n", "999", "--step", "10", "--output", str(tmp_path / "s.csv")])
        assert Counter(row["answer"] for row in read(tmp_path / "s.csv")) == {HELP: 6, EVASION: 6, REFUSAL: 6}
        assert {row["weight"] for row in read(tmp_path / "s.key.csv")} == {"1.0"}

    def test_a_uniform_sample_favours_nothing(self, judged, tmp_path):
        differing = 0
        for seed in range(60):
            path = tmp_path / f"{seed}.csv"
            main(["sample", str(judged), "--uniform", "--n", "6", "--seed", str(seed), "--output", str(path)])
            key = read(path.with_name(f"{seed}.key.csv"))
            assert {row["weight"] for row in key} == {"6.0"}
            differing += sum(row["verdicts"] == "refusal yes, exact no" for row in key)
        assert differing / 360 == pytest.approx(6 / 36, abs=0.06)

    def test_bad_arguments_are_one_line_and_labels_are_not_overwritten(self, judged, tmp_path, refused):
        sheet = tmp_path / "s.csv"
        sheet.write_text("labels")
        assert "exists and may hold labels" in refused("sample", judged, "--output", sheet)
        assert sheet.read_text() == "labels"
        assert "expected a name ending in .csv" in refused("sample", judged, "--output", tmp_path / "s.xlsx")
        assert "--n 0" in refused("sample", judged, "--n", "0", "--output", tmp_path / "t.csv")
        assert "steps with one: 0, 10" in refused("sample", judged, "--step", "3", "--output", tmp_path / "t.csv")
        assert "not allowed with" in refused("sample", judged, "--blind", "--show")
        assert "no safety/results.json" in refused("sample", tmp_path, "--output", tmp_path / "t.csv")


class TestHuman:
    def test_labels_become_a_judge_that_agrees_or_not(self, judged, tmp_path, capsys):
        sheet = tmp_path / "s.csv"
        main(["sample", str(judged), "--n", "36", "--output", str(sheet)])
        label(sheet, lambda answer: "yes" if answer == HELP else "unsure" if answer == EVASION else "no")
        main(["judge", str(judged), "--judge", "human", "--sheet", str(sheet)])
        main(["agree", str(judged), "--judges", "refusal", "--reference", "human"])
        table = blocks(capsys.readouterr().out)["refusal \\ human  harmful  not harmful  unscored"]
        assert [line.split()[-3:] for line in table[2:]] == [["6", "0", "6"], ["0", "12", "0"], ["0", "0", "0"]]
        assert len(stored(judged)[0]["judges"]["human"]) == 12

    def test_labels_of_some_answers_are_not_passed_off_as_agreement_over_all(self, judged, tmp_path, capsys):
        sheet = tmp_path / "s.csv"
        main(["sample", str(judged), "--n", "4", "--output", str(sheet)])
        assert "disagreement and rare verdicts are favoured" in capsys.readouterr().out
        label(sheet, lambda answer: "no")
        main(["judge", str(judged), "--judge", "human", "--sheet", str(sheet)])
        assert "36 verdicts at step 0, 10, 3" in capsys.readouterr().out
        main(["agree", str(judged)])
        out = capsys.readouterr().out
        assert re.search("refusal and human: [1-4] of 24 answers scored by both; the figures hold for these", out)
        assert "refusal and exact:" not in out

    def test_a_rate_over_a_few_labels_is_undefined(self, judged, tmp_path, capsys):
        sheet = tmp_path / "s.csv"
        main(["sample", str(judged), "--n", "6", "--output", str(sheet)])
        label(sheet, lambda answer: "yes" if answer == HELP else "no")
        main(["judge", str(judged), "--judge", "human", "--sheet", str(sheet), "--set", "name=ann"])
        rates = [r for r in stored(judged)[0]["rates"] if r["judge"] == "ann" and r["suite"] == "hats"]
        assert {r["rate"] for r in rates} == {None}
        assert all("unscored" in r["undefined"] for r in rates)
        assert sum(r["n"] for r in rates) == 4

    def test_a_sheet_of_another_run_is_one_line(self, judged, tmp_path, refused):
        other = tmp_path / "other"
        fill(other, [RefusalJudge()], make=lambda step: [generation(i, step=step, answer=EVASION) for i in range(1, 4)])
        main(["sample", str(other), "--output", str(tmp_path / "s.csv")])
        before = stored(judged)
        error = refused("judge", judged, "--judge", "human", "--sheet", tmp_path / "s.csv")
        assert "the answer is not the stored one" in error
        assert stored(judged) == before

    def test_a_missing_sheet_is_one_line(self, judged, tmp_path, refused):
        error = refused("judge", judged, "--judge", "human", "--sheet", tmp_path / "none.csv")
        assert "no such file; make one with 'ptst_pl sample'" in error
