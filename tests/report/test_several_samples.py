"""Several answers to one prompt in a results folder: no command counts them as independent, or drops any silently."""

from __future__ import annotations

import json

import pytest
from page_runs import page

from ptst_pl.cli import main

ASR = {("chat:llama", 8): 3}


@pytest.fixture
def run(tmp_path):
    return page(tmp_path / "run", harmful=ASR)


def sample_again(run, *names, step=8):
    """A second sample of every prompt of a step, as predict would number it, with a verdict of each judge."""
    for name in names:
        file = run / "safety" / name
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        more = [row | ({"sample": 1} if name == "generations.jsonl" else {}) for row in rows if row["step"] == step]
        file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in argv])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert "count one answer to each prompt" in error
    return error


def test_the_page_joins_no_verdict_to_two_answers(run, tmp_path, capsys):
    sample_again(run, "generations.jsonl")
    error = refused(capsys, "report", run, "--html", tmp_path / "page.html")
    assert "generations.jsonl: two answers to hats 0 under chat:vanilla at step 8 (samples 0 and 1)" in error
    assert not (tmp_path / "page.html").exists()


def test_an_earlier_step_is_looked_at_too(run, tmp_path, capsys):
    sample_again(run, "generations.jsonl", step=0)
    assert "at step 0 (samples 0 and 1)" in refused(capsys, "report", run, "--html", tmp_path / "page.html")


def test_the_page_shows_no_two_verdicts_of_one_judge_on_an_answer(run, tmp_path, capsys):
    sample_again(run, "verdicts.jsonl", step=0)
    error = refused(capsys, "report", run, "--html", tmp_path / "page.html")
    assert "verdicts.jsonl: two verdicts of judge exact on hats 0 under chat:vanilla at step 0" in error


def test_paired_comparisons_do_not_take_the_last_of_several(run, tmp_path, capsys):
    other = page(tmp_path / "other", "chat:llama", harmful={("chat:llama", 8): 7})
    sample_again(run, "verdicts.jsonl")
    assert "two verdicts of judge exact on hats 0 under" in refused(capsys, "report", run, other)


def test_the_gate_does_not_either(run, tmp_path, capsys):
    sample_again(run, "verdicts.jsonl")
    limit = ("--judge", "exact", "--template", "chat:llama", "--relative-to", page(tmp_path / "base", harmful=ASR))
    assert "two verdicts of judge exact on hats 0 under chat:llama" in refused(capsys, "gate", run, *limit)


def test_judge_and_sample_refuse_them(run, capsys):
    sample_again(run, "generations.jsonl")
    for command in (("judge", run, "--judge", "keywords-gcg"), ("agree", run), ("sample", run)):
        assert "two answers to hats 0 under chat:vanilla at step 8" in refused(capsys, *command)


def test_agree_does_not_take_the_last_verdict_of_several(run, capsys):
    sample_again(run, "verdicts.jsonl")
    with pytest.raises(SystemExit):
        main(["agree", str(run)])
    assert "two verdicts of judge exact on hats 0 under chat:vanilla at step 8; run" in capsys.readouterr().err


def test_one_sample_of_each_prompt_is_read_whatever_its_number(run, tmp_path, capsys):
    file = run / "safety/generations.jsonl"
    rows = [json.loads(line) | {"sample": 3} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["report", str(run), "--html", str(tmp_path / "page.html")])
    main(["judge", str(run), "--judge", "keywords-gcg"])
    assert (tmp_path / "page.html").exists()
