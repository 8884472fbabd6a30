"""``safety.probe``: a line for every layer at every evaluation, training and answers as without, a figure."""

import json

import pytest
from training_fixtures import World, assert_same, lines, weights, world

from ptst_pl.cli import main
from ptst_pl.report.discover import find_runs
from ptst_pl.report.probe import probes, words

__all__ = ["world"]
OWN = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "4", "--safety.active", "true", "--model.method", "full")


@pytest.fixture(scope="module")
def suites(world: World):
    fruit = {"name": "fruit", "path": str(world.folder / "suite.csv")}
    return ("--safety.suites", json.dumps([fruit, {**fruit, "name": "kind", "measures": "over-refusal"}]))


@pytest.fixture(scope="module")
def probed(world: World, suites):
    return world.fit("probed", *OWN, *suites, "--safety.probe", "4", "--checkpoint_every_n_steps", "2",
                     "--keep_checkpoints", "-1")  # fmt: skip


def test_every_evaluation_has_a_line_per_layer_and_nothing_else_feels_it(world: World, suites, probed):
    plain = world.fit("unprobed", *OWN, *suites)
    assert_same(weights(plain), weights(probed))
    for name in ("generations", "verdicts"):
        assert lines(plain / f"safety/{name}.jsonl") == lines(probed / f"safety/{name}.jsonl")
    found = lines(probed / "safety/probe.jsonl")
    assert [(line["step"], line["layer"]) for line in found] == [
        (step, layer) for step in (0, 2, 4) for layer in (0, 1)
    ]
    assert {line["drift"] for line in found if line["step"] == 0} == {1.0}
    assert all(-1.001 <= line["drift"] <= 1.001 for line in found)
    assert all(line["lipschitz_safe"] is None for line in found if line["layer"] == 0)
    assert {(line["safe"], line["unsafe"]) for line in found} == {(4, 4)}


def test_a_resumed_run_has_the_same_lines(world: World, suites, probed):
    again = ("--ckpt_path", str(probed / "step-000002.ckpt"))
    before = lines(probed / "safety/probe.jsonl")
    resumed = world.fit("probed", *OWN, *suites, "--safety.probe", "4", *again)
    assert resumed == probed, "it goes on in its own folder"
    assert lines(resumed / "safety/probe.jsonl") == before


def test_the_report_draws_it_and_says_what_a_correlation_of_few_points_is_worth(probed, tmp_path, capsys):
    main(["report", str(probed), "--out", str(tmp_path / "page")])
    html = (tmp_path / "page/report.html").read_text()
    assert '<section id="probe"' in html
    (seen,) = probes(find_runs([probed]).runs)
    assert [step for step, *_ in seen.tracks["text:vanilla"]] == [0, 2, 4]
    assert "too few for a rank correlation" in words([seen])[-1]
    many = type(seen)(seen.run, 0, seen.tracks, [(1 - n / 10, n / 20) for n in range(8)])
    assert "rank correlation of drift (1 - cosine) and attack success: 1.00 over 8" in words([many])[-1]


def test_too_few_prompts_are_one_line(world: World):
    done = world.start("fit", "--name", "p", *OWN, "--safety.probe", "1").wait()
    assert done.status == 2
    assert "probe is 1, expected 2 or more prompts" in done.err
