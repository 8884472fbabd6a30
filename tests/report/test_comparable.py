"""Runs that may not stand in one table, runs that are not whole, and sweeps: the report says so."""

from __future__ import annotations

import json
import shutil

import pytest
from page_runs import META, TESTED, four, page

from ptst_pl.cli import main
from ptst_pl.report.comparable import incomparable, incomplete
from ptst_pl.report.configs import variants
from ptst_pl.report.discover import find_runs

ASR = {("chat:llama", 8): 3}


def pair(tmp_path, **second):
    return find_runs(
        [page(tmp_path / "a", harmful=ASR), page(tmp_path / "b", "chat:llama", harmful=ASR, **second)]
    ).runs


def test_runs_of_one_evaluation_may_be_compared(tmp_path):
    runs = find_runs(four(tmp_path)).runs
    assert incomparable(runs) == []
    assert incomplete(runs) == []


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"suites": META["suites"] | {"hats": {"n": 10, "sha256": "f" * 64}}}, "suite hats: prompts (sha256) differs"),
        ({"judges": META["judges"] | {"exact": "3"}}, "judge exact: version differs"),
        ({"judge_settings": {"exact": {"strict": True}}}, None),
        ({"decoding": META["decoding"] | {"temperature": 0.7}}, "decoding temperature differs"),
        ({"decoding": META["decoding"] | {"batch_size": 4}}, "decoding batch_size (it can change"),
        ({"decoding": META["decoding"] | {"seed": 2}}, None),
        ({"chat_format": "mistral"}, "chat_format differs"),
        (
            {"templates": META["templates"] | {"chat:llama": {"system": "Be kind."}}},
            "template chat:llama: text differs",
        ),
    ],
)
def test_what_differs_is_named_with_both_values(tmp_path, meta, words):
    found = incomparable(pair(tmp_path, meta=meta))
    assert (found == []) if words is None else (len(found) == 1 and found[0].startswith(words)), found
    if words:
        assert str(tmp_path / "a") in found[0]
        assert str(tmp_path / "b") in found[0]


def test_another_model_at_step_0_is_found_out(tmp_path):
    (found,) = incomparable(pair_with_step_0(tmp_path))
    assert "step 0 is not the same model" in found
    assert "0 of 10" in found
    assert "2 of 10" in found


def pair_with_step_0(tmp_path):
    other = page(tmp_path / "b", "chat:llama", harmful=ASR | {("chat:vanilla", 0): 2})
    return find_runs([page(tmp_path / "a", harmful=ASR), other]).runs


def test_a_copy_is_no_second_seed(tmp_path):
    run = page(tmp_path / "a", harmful=ASR)
    shutil.copytree(run, tmp_path / "b")
    found = find_runs([run, tmp_path / "b"])
    assert [one.path for one in found.runs] == [run]
    assert "the very model of" in found.missing[0]
    for folder in (run, tmp_path / "b"):  # as an older version wrote it
        file = folder / "safety/results.json"
        stored = json.loads(file.read_text())
        file.write_text(json.dumps({key: stored[key] for key in stored if key != "identity"}))
    old = find_runs([run, tmp_path / "b"]).runs
    assert "a copy, which counts twice" in incomparable(old)[0]
    assert any("identity unknown" in line for line in incomplete(old))
    assert len(find_runs([run, run]).runs) == 1


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(tmp_path, capsys):
    runs = [
        page(tmp_path / "a", harmful={("chat:llama", 8): 2}),
        page(tmp_path / "b", seed=2, harmful=ASR, method="lora"),
    ]
    main(["report", *map(str, runs)])
    table = capsys.readouterr().out.split("\n\n")[0]
    assert "chat:vanilla, model.method=full" in table
    assert "chat:vanilla, model.method=lora" in table
    assert "±" not in table
    assert "20.0 [6, 51]" in table
    assert "30.0 [11, 60]" in table


def test_runs_of_other_models_have_a_row_each_before_training_too(tmp_path, capsys):
    runs = [page(tmp_path / "a", harmful=ASR), page(tmp_path / "b", harmful=ASR, pretrained="large")]
    main(["report", *map(str, runs)])
    table = capsys.readouterr().out.split("\n\n")[0]
    assert "(not fine-tuned), model.pretrained=tiny" in table
    assert "(not fine-tuned), model.pretrained=large" in table


def test_runs_of_before_a_setting_came_are_as_ones_with_its_default(tmp_path):
    """Else no older result could be compared with a newer one, nor be another seed of it."""
    runs = [page(tmp_path / name, seed=seed, harmful=ASR) for name, seed in (("a", 1), ("b", 2), ("c", 3))]
    usual = {"special_tokens": "text", "thinking": "closed", "preamble": "refused"}
    for run, options in zip(runs[1:], (usual, usual | {"special_tokens": "served"}), strict=True):
        results = json.loads((run / "safety" / "results.json").read_text())
        results["chat_options"] = options
        results["decoding"] |= {"thought_marks": [], "samples": 1, "prefix": ""}
        (run / "safety" / "results.json").write_text(json.dumps(results))
        config = json.loads((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(json.dumps(config | {"chat_options": options}))
    found = find_runs(runs[:2]).runs
    assert incomparable(found) == []
    assert [words for pair in variants([run.config for run in found]) for words in pair if words] == []
    found = find_runs(runs).runs
    assert any("chat_options special_tokens differs: 'text' in" in line for line in incomparable(found))
    assert variants([run.config for run in found])[2][0] == "chat_options.special_tokens=served"


class TestIncomplete:
    def test_a_stopped_run_says_how_far_it_came(self, tmp_path):
        run = page(tmp_path / "a", harmful=ASR)
        config = json.loads((run / "config.yaml").read_text())
        config["trainer"]["max_steps"] = 80
        (run / "config.yaml").write_text(json.dumps(config))
        assert incomplete(find_runs([run]).runs) == [f"{run}: ends at step 8 of 80"]

    def test_missing_files_and_cells_are_named(self, tmp_path):
        full, part = page(tmp_path / "a", harmful=ASR), page(tmp_path / "b", "chat:llama", suites=["hats"])
        (part / "safety" / "generations.jsonl").unlink()
        lines = incomplete(find_runs([full, part]).runs)
        assert f"{part}: no generations.jsonl beside the rates; what is made from it is left out" in lines
        assert f"{part}: washing under chat:vanilla was to be tested and has no rate at step 8" in lines
        assert any(line.startswith(f"{part}: lacks washing under chat:vanilla") for line in lines)

    def test_results_copied_without_a_config_are_read_and_said_to_be_so(self, tmp_path):
        runs = [page(tmp_path / name, seed=k, harmful={("chat:llama", 8): k}) for k, name in enumerate("ab", 1)]
        for run in runs:
            (run / "config.yaml").unlink()
        main(["report", *map(str, runs), "--html", str(tmp_path / "page.html")])
        text = (tmp_path / "page.html").read_text()
        assert "no config beside some of the 2 runs of row chat:vanilla" in text
        assert "not known: no config.yaml beside the results" in text

    def test_unscored_answers_are_counted_in_the_warnings(self, tmp_path):
        run = page(tmp_path / "a", harmful=ASR, n=20)
        file = run / "safety" / "results.json"
        stored = json.loads(file.read_text())
        record = next(r for r in stored["rates"] if r["step"] == 8 and r["judge"] == "exact")
        record["unscored"] = 1
        file.write_text(json.dumps(stored))
        (line,) = incomplete(find_runs([run]).runs)
        assert "unscored answers in 1 cells of its last step, at most 1 of 21" in line

    def test_the_page_shows_what_is_missing(self, tmp_path):
        run = page(tmp_path / "a", harmful=ASR)
        (run / "safety" / "verdicts.jsonl").unlink()
        main(["report", str(run), "--html", str(tmp_path / "page.html")])
        warnings = (tmp_path / "page.html").read_text().split('id="warnings"')[1].split("</section>")[0]
        assert "no verdicts.jsonl beside the rates" in warnings


class TestSweeps:
    def test_a_folder_of_runs_is_all_its_runs(self, tmp_path, capsys):
        four(tmp_path / "sweep")
        (tmp_path / "sweep" / "waiting" / "version_0").mkdir(parents=True)
        (tmp_path / "sweep" / "notes").mkdir()
        main(["report", str(tmp_path / "sweep")])
        printed = capsys.readouterr().out
        assert "20.0 ± 14.1" in printed
        assert f"missing: {tmp_path / 'sweep' / 'waiting' / 'version_0'}: no results yet" in printed
        assert "notes" not in printed

    def test_what_a_sweep_has_not_finished_is_named(self, tmp_path):
        four(tmp_path / "sweep")
        states = [{"name": "chat-llama-1", "state": "done"}, {"name": "chat-llama-3", "state": "waiting"}]
        (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"runs": states}))
        (line,) = find_runs([tmp_path / "sweep"]).missing
        assert line == f"{tmp_path / 'sweep' / 'chat-llama-3'}: waiting when the sweep wrote sweep.json"

    def test_versions_count_newest_first(self, tmp_path):
        page(tmp_path / "sweep" / "a" / "version_0", harmful=ASR)
        newest = page(tmp_path / "sweep" / "a" / "version_1", harmful=ASR)
        assert [run.path for run in find_runs([tmp_path / "sweep"]).runs] == [newest]

    def test_a_sweep_without_results_is_one_line(self, tmp_path, capsys):
        (tmp_path / "sweep" / "a" / "version_0").mkdir(parents=True)
        with pytest.raises(SystemExit):
            main(["report", str(tmp_path / "sweep")])
        error = capsys.readouterr().err
        assert "none of its 1 runs has results yet" in error
        assert error.count("\n") == 1


def test_variants_are_not_compared_with_each_other(tmp_path, capsys):
    runs = [
        page(tmp_path / "a", "chat:vanilla", harmful=ASR),
        page(tmp_path / "b", "chat:llama", harmful=ASR, method="lora"),
    ]
    main(["report", *map(str, runs)])
    assert "pair by pair" not in capsys.readouterr().out
    assert TESTED
