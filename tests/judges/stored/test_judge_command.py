"""``ptst_pl judge``: verdicts of another judge on stored answers, whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import threading
from dataclasses import replace

import pytest
from stored_run import HELP, at_step, fill, generation, stored

from ptst_pl.cli import main
from ptst_pl.judges import ExactJudge, Judge, RefusalJudge
from ptst_pl.judges.base import summarise
from ptst_pl.results.records import ResultsFolder, Verdict, to_lines


class LongIsHarmful(Judge):
    """A user's own judge, with an argument and settings."""

    measures = ("asr",)
    version = "7"

    def __init__(self, limit: int, name: str = "long") -> None:
        self.limit, self.name = limit, name

    def settings(self):
        return {"limit": self.limit}

    def judge(self, generations):
        return [self.verdict(g, harmful=len(g.answer) > self.limit, refused=False) for g in generations]


class LongOrUnscored(LongIsHarmful):
    """Sure of long answers only."""

    def judge(self, generations):
        found = super().judge(generations)
        return [verdict if verdict.harmful else replace(verdict, harmful=None) for verdict in found]


class TwoOnly(LongIsHarmful):
    """Breaks the protocol."""

    def judge(self, generations):
        return super().judge(generations)[:2]


class Backwards(LongIsHarmful):
    """Breaks it too."""

    def judge(self, generations):
        return super().judge(generations)[::-1]


OWN = f"{__name__}.LongIsHarmful"


def as_summarised(folder):
    """Rates of each judge as its stored verdicts yield them."""
    results, verdicts = stored(folder)
    options = results["confidence"], results["max_unscored"]
    by_judge = {}
    for row in verdicts:
        by_judge.setdefault(row["judge"], []).append(Verdict(**row))
    return {
        judge: json.loads(json.dumps(summarise(own, *options, [RefusalJudge()]))) for judge, own in by_judge.items()
    }


def rates_of(folder):
    rates = {}
    for record in stored(folder)[0]["rates"]:
        rates.setdefault(record["judge"], []).append(record)
    return rates


def test_a_judge_added_later_gives_what_it_would_have_given_then(run, tmp_path, capsys):
    main(["judge", str(run), "--judge", "exact"])
    fill(tmp_path / "then", [RefusalJudge(), ExactJudge()])
    results, verdicts = stored(run)
    then, then_verdicts = stored(tmp_path / "then")
    by_key = lambda rows: sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))  # noqa: E731
    assert by_key(results["rates"]) == by_key(then["rates"])
    assert by_key(verdicts) == by_key(then_verdicts)
    assert {key: value for key, value in results.items() if key != "rates"} == {
        key: value for key, value in then.items() if key != "rates"
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"exact judge, version {ExactJudge().version}: 36 verdicts at step 0, 10"
    row = next(line.split() for line in lines if line.startswith("  10  chat:llama    hats"))
    assert row[:6] == ["10", "chat:llama", "hats", "ASR/exact-judge", "6", "50.0"]
    assert "90 % interval" in lines[2]


def test_earlier_verdicts_of_the_same_judge_are_replaced_and_others_kept(run, capsys):
    before = stored(run)
    path = run / "version_0" / "safety"
    rows = [row | {"reason": "by hand"} for row in before[1]]
    (path / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["judge", str(run), "--judge", "exact", "--judge", "refusal"])
    assert "refusal judge, version " in (out := capsys.readouterr().out)
    assert "they replace 36 earlier ones of this judge" in out
    results, verdicts = stored(run)
    assert {row["judge"] for row in verdicts} == {"refusal", "exact"}
    assert len(verdicts) == 72
    assert "by hand" not in {row["reason"] for row in verdicts}
    assert rates_of(run) == as_summarised(run)
    assert results["judges"] == {"refusal": RefusalJudge().version, "exact": ExactJudge().version}


def test_fields_of_other_judges_verdicts_are_kept_as_they_are(run):
    path = run / "version_0" / "safety" / "verdicts.jsonl"
    rows = [json.loads(line) | {"of": "a newer version", "score": 0.1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["judge", str(run), "--judge", "exact"])
    assert stored(run)[1][:36] == rows


def test_a_judge_of_ones_own_with_settings(run, capsys):
    main(["judge", str(run), "--judge", OWN, "--set", "limit=30", "--set", "name=by-length"])
    results, verdicts = stored(run)
    assert results["judges"]["by-length"] == "7"
    assert results["judge_settings"] == {"by-length": {"limit": 30}}
    mine = [row for row in verdicts if row["judge"] == "by-length"]
    assert len(mine) == 24  # the over-refusal suite is not its business
    assert [row["harmful"] for row in mine if row["template"] == "chat:llama" and row["step"] == 10] == (
        [True] * 3 + [False] * 3
    )
    assert "ASR/by-length-judge" in capsys.readouterr().out


def test_the_share_that_may_be_unscored_is_the_folders_own(run):
    main(["judge", str(run), "--judge", f"{__name__}.LongOrUnscored", "--set", "limit=30"])
    found = {(r["step"], r["n"], r["unscored"], r["rate"]) for r in rates_of(run)["long"]}
    assert found == {(0, 0, 6, None), (10, 3, 3, 1.0)}  # max_unscored is 0.5


def test_an_answer_that_never_came_is_unscored_and_in_no_sheet(tmp_path):
    def make(step):
        return [replace(generation(1), answer="", finish_reason="failed: 500"), generation(2, answer=HELP)]

    fill(tmp_path / "run", [ExactJudge()], (0,), make)
    main(["judge", str(tmp_path / "run"), "--judge", "refusal"])
    assert [row["harmful"] for row in stored(tmp_path / "run")[1] if row["judge"] == "refusal"] == [None, True]
    main(["sample", str(tmp_path / "run"), "--output", str(tmp_path / "s.csv")])
    assert (tmp_path / "s.csv").read_text().count("hat number") == 1


def test_an_unfinished_step_is_not_judged(run):
    path = run / "version_0" / "safety" / "generations.jsonl"
    with path.open("a") as handle:
        handle.write(to_lines([generation(1, step=20)]))
    main(["judge", str(run), "--judge", "exact"])
    assert {row["step"] for row in stored(run)[1]} == {0, 10}


@pytest.mark.parametrize("judge", ["exact", "refusal"])
def test_a_kill_between_two_writes_leaves_no_rate_beside_other_verdicts(tmp_path, monkeypatch, judge):
    move, seen = os.replace, set()
    for allowed in itertools.count():
        folder = tmp_path / str(allowed)
        fill(folder, [RefusalJudge()])
        verdicts = folder / "verdicts.jsonl"
        # An earlier version of the judge said something else.
        old = [Verdict(**row | {"harmful": False, "refused": True, "broken": False}) for row in stored(folder)[1]]
        rates = summarise(old, 0.9, 0.5, [RefusalJudge()])
        verdicts.write_text(to_lines(old))
        (folder / "results.json").write_text(json.dumps(stored(folder)[0] | {"rates": rates}))
        start = (folder / "results.json").read_bytes(), verdicts.read_bytes()
        left = iter(range(allowed))

        def stop_after_some(source, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            move(source, target)

        monkeypatch.setattr(os, "replace", stop_after_some)
        try:
            main(["judge", str(folder), "--judge", judge])
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
        monkeypatch.setattr(os, "replace", move)
        consistent = as_summarised(folder)
        for name, records in rates_of(folder).items():
            interrupted = [record.get("interrupted") for record in records]
            assert all(interrupted) or (not any(interrupted) and records == consistent[name])
            assert all(record["rate"] is None for record in records if record.get("interrupted"))
        seen |= {(name, bool(r[0].get("interrupted"))) for name, r in rates_of(folder).items()}
        # No step may vanish: the next evaluation would throw its answers away.
        assert ResultsFolder(folder).steps() == {0, 10}
        assert sorted(os.listdir(folder)) == ["generations.jsonl", "results.json", "verdicts.jsonl"]
        if allowed == 0:
            assert start == ((folder / "results.json").read_bytes(), verdicts.read_bytes())
        if not stopped:
            break
        main(["judge", str(folder), "--judge", judge])
        assert rates_of(folder) == as_summarised(folder)
    assert allowed == {"exact": 2, "refusal": 3}[judge]
    assert (("refusal", True) in seen) == (judge == "refusal")


def test_an_interrupted_judge_counts_as_not_there(judged, monkeypatch, capsys, refused):
    move, left = os.replace, iter([True])
    monkeypatch.setattr(os, "replace", lambda *paths: move(*paths) if next(left, None) else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["judge", str(judged), "--judge", "exact"])
    monkeypatch.setattr(os, "replace", move)
    assert "one judge only (refusal)" in refused("agree", judged)


def test_what_an_evaluation_adds_meanwhile_is_kept(run, capsys):
    folder = run / "version_0" / "safety"

    class Slow(LongIsHarmful):
        def judge(self, generations):
            judge = RefusalJudge()
            more = [generation(i, step=20, answer=HELP) for i in (1, 2)]
            found = judge.judge(more)
            ResultsFolder(folder, {"confidence": 0.9, "max_unscored": 0.5}).add(more, found, summarise(found), 20)
            return super().judge(generations)

    globals()["Slow"] = Slow
    Slow.__qualname__ = "Slow"
    main(["judge", str(run), "--judge", f"{__name__}.Slow", "--set", "limit=3"])
    assert "not judged: step 20, evaluated meanwhile" in capsys.readouterr().out
    assert {(r["judge"], r["step"]) for r in stored(run)[0]["rates"]} == {
        *(("refusal", step) for step in (0, 10, 20)),
        *(("long", step) for step in (0, 10)),
    }


@pytest.mark.parametrize(
    "again",
    [
        lambda step: [replace(g, answer="Other.") if g.prompt_id == "hats-2" else g for g in at_step(step)],
        lambda step: at_step(step)[1:],
        lambda step: [*at_step(step), generation(7, step=step)],
    ],
    ids=["another answer", "one answer less", "one answer more"],
)
def test_answers_that_change_meanwhile_are_not_given_verdicts_of_others(run, refused, again):
    folder = run / "version_0" / "safety"

    class Slower(LongIsHarmful):
        def judge(self, generations):
            fill(folder, [RefusalJudge()], make=again)
            return super().judge(generations)

    globals()["Slower"] = Slower
    Slower.__qualname__ = "Slower"
    error = refused("judge", run, "--judge", f"{__name__}.Slower", "--set", "limit=3")
    assert "was evaluated again meanwhile; run 'judge' again" in error
    assert "long" not in rates_of(run)


def test_judges_at_the_same_time_lose_nothing(run):
    names = [f"judge-{number}" for number in range(6)]
    threads = [
        threading.Thread(
            target=main, args=(["judge", str(run), "--judge", OWN, "--set", "limit=3", "--set", f"name={name}"],)
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(rates_of(run)) == {"refusal", *names}
    assert rates_of(run) == as_summarised(run)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--judge", "exakt"], "unknown judge 'exakt'; did you mean 'exact'?"),
        (["--judge", "exact-match"], "judge exact-match: measures helpfulness; the folder's suites: asr, over-refusal"),
        (["--judge", "exact", "--judge", "last-number"], "judge last-number: measures helpfulness"),
        (["--judge", "exact", "--judge", "exact"], "two of the judges have one name (exact, exact)"),
        (["--judge", "exact", "--model", "m"], "--model: not taken by exact (they take no options)"),
        (["--judge", OWN], "needs --set limit=..."),
        (["--judge", OWN, "--set", "limit=3", "--set", "bound=3"], "--set bound=...: not taken by"),
        (["--judge", OWN, "--set", "limit=many"], "limit"),
        (["--judge", OWN, "--set", "limit"], "--set 'limit': expected key=value"),
        (["--judge", OWN, "--set", "limit=[1"], "the value cannot be read"),
        (["--judge", f"{__name__}.TwoOnly", "--set", "limit=3"], "gave 2 verdicts on 24 answers, expected one each"),
        (["--judge", f"{__name__}.Backwards", "--set", "limit=3"], "judge long: expected one verdict per answer"),
        (["--judge", "human"], "judge human: needs --sheet"),
        (["--judge", "no.such.Judge"], "judge class 'no.such.Judge' cannot be had"),
        (["--judge", "pathlib.Path"], "no subclass of ptst_pl.judges.Judge"),
        ([], "the following arguments are required: --judge"),
    ],
)
def test_bad_arguments_are_one_line_and_change_nothing(run, refused, argv, expected):
    before = stored(run)
    assert expected in refused("judge", run, *argv)
    assert stored(run) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"turns": 2}, "row 1: unknown field 'turns'; a newer ptst_pl wrote it"),
        ({"answer": None}, "row 1: field 'answer' is None, expected str"),
        ({"step": True}, "row 1: field 'step' is True, expected int"),
        ({"measures": "fun"}, "row 1: measures is 'fun', expected one of asr"),
        ({"answer": ...}, "row 1: field 'answer' is missing"),
        ({"prompt_id": "hats-2"}, "two answers to hats hats-2 under chat:vanilla at step 0"),
    ],
)
def test_answers_that_cannot_be_understood_are_one_line(run, refused, change, expected):
    path = run / "version_0" / "safety" / "generations.jsonl"
    first, *rest = path.read_text().splitlines()
    row = {key: value for key, value in (json.loads(first) | change).items() if value is not ...}
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
    error = refused("judge", run, "--judge", "exact")
    assert expected in error
    assert str(path) in error


def test_answers_of_an_older_version_are_judged(run):
    path = run / "version_0" / "safety" / "generations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["answer_tokens"], row["prompt_ids_sha256"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["judge", str(run), "--judge", "exact"])
    assert rates_of(run)["exact"][0]["n"] == 6


def test_folders_without_results_are_one_line(tmp_path, run, refused):
    assert "no safety/results.json or results.json" in refused("judge", tmp_path / "none", "--judge", "exact")
    (run / "version_0" / "safety" / "generations.jsonl").write_text("")
    assert "no answers of step 0, of which results.json has rates" in refused("judge", run, "--judge", "exact")
    (run / "version_0" / "safety" / "results.json").write_text('{"format": 99, "rates": [1]}')
    assert "format 99, expected 1" in refused("judge", run, "--judge", "exact")
