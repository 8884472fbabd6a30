"""A judge that names the suites it judges: in a config, through ``fit`` and ``test``, here and behind an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faulty_server import says, serving
from training_fixtures import World, lines

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.judges.build import KNOWN_JUDGES, build_judge

ARC = {"question": "Which floats?", "choices": {"text": ["iron", "wood"], "label": ["A", "B"]}, "answerKey": "B"}
JUDGES = [
    "refusal",
    {"name": "last-number", "suites": ["sums", "gsm8k"]},  # gsm8k is not among the suites here
    {"class_path": "ptst_pl.judges.ArcJudge", "suites": ["arc-easy"]},
    "rouge",
]
PAIRS = {
    ("hats", "refusal"),
    ("sums", "last-number"),
    ("sums", "rouge"),
    ("arc-easy", "arc"),
    ("arc-easy", "rouge"),
}


@pytest.fixture(scope="module")
def suites(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("suites")
    rows = {"hats": {"prompt": "How do I hide a hat?"}, "sums": {"prompt": "1 + 1?", "answer": "2"}, "arc-easy": ARC}
    for name, row in rows.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    made = [{"name": name, "path": str(folder / f"{name}.jsonl")} for name in rows]
    made[1]["measures"] = "helpfulness"
    return made


def flags(suites: list[dict], judges: list) -> list[str]:
    return ["--safety.active", "true", "--safety.suites", json.dumps(suites), "--safety.judges", json.dumps(judges)]


def pairs(results: Path) -> set[tuple[str, str]]:
    """Which judge judged which suite, by the rates and by the verdicts."""
    by_rates = {(r["suite"], r["judge"]) for r in json.loads((results / "results.json").read_text())["rates"]}
    assert {(v["suite"], v["judge"]) for v in lines(results / "verdicts.jsonl")} == by_rates
    return by_rates


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
def test_here_and_judged_again(world: World, suites, tmp_path, capsys):
    results = tmp_path / "here"
    world.run("test", "--results", str(results), *flags(suites, JUDGES))
    assert pairs(results) == PAIRS
    named = {"last-number": ["sums", "gsm8k"], "arc": ["arc-easy"]}
    assert json.loads((results / "results.json").read_text())["judge_suites"] == named
    # Else the finished table would be printed for judges that it was not made with.
    other = world.start("test", "--results", str(results), *flags(suites, [*JUDGES[:2], "arc", "rouge"])).wait()
    assert other.status == 2
    assert "holds an evaluation of other weights" in other.err.splitlines()[-1]
    main(["judge", str(results), "--judge", "last-number"])
    assert pairs(results) == PAIRS | {("arc-easy", "last-number")}
    assert json.loads((results / "results.json").read_text())["judge_suites"] == {"arc": ["arc-easy"]}


def ask(results: Path, *more: str) -> None:
    with serving(lambda asked: says("B: 2")) as server:
        endpoint = ["--endpoint.model", "judge", "--endpoint.base_url", server.url]
        main(
            ["test", "--name", "x", "--safety.templates", "[chat:vanilla]", "--results", str(results), *endpoint, *more]
        )


def test_behind_an_endpoint(suites, tmp_path):
    ask(tmp_path, *flags(suites, JUDGES))
    assert pairs(tmp_path) == PAIRS


MISTAKES = [
    ([{"name": "last-number", "suites": ["summs"]}, "refusal"], ["last-number", "'summs'", "did you mean 'sums'"]),
    ([{"name": "arc", "suites": ["arc-easey"]}], ["'arc-easey'", "did you mean 'arc-easy'", "evaluated: hats"]),
    ([{"name": "last-number", "suites": ["hats"]}], ["'hats', which measures asr", "this judge measures helpfulness"]),
    ([{"name": "last-number", "suites": "sums"}], ["last-number", "'sums'", "expected a list of suite names"]),
    ([{"name": "last-number", "suites": []}], ["suites is []", "expected a list of suite names"]),
    ([{"name": "last-numbr", "suites": ["sums"]}], ["unknown judge 'last-numbr'", "did you mean 'last-number'"]),
    ([{"name": "arc", "suite": ["arc-easy"]}], ["judge 'arc': unknown key 'suite'; did you mean 'suites'"]),
    ([{"name": "arc", "class_path": "ArcJudge"}], ["judge 'arc'", "either the name of a known judge or a class_path"]),
    ([{"suites": ["sums"]}], ["either the name of a known judge or a class_path"]),
    ([{"name": "refusal", "init_args": {"mod": "all"}}], ["RefusalJudge", "Option 'mod' is not accepted"]),
    (["refusal", {"name": "arc", "suites": ["arc-easy"]}], ["no judge for suite 'sums', which measures helpfulness"]),
]


@pytest.mark.parametrize(("judges", "words"), MISTAKES)
def test_a_mistake_is_one_line(suites, judges, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        ask(tmp_path / "none", *flags(suites, judges))
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words), line
    assert "Union" not in line
    assert not (tmp_path / "none").exists()


def test_a_fit_refuses_it_before_it_makes_a_folder(world: World, suites):
    """The same check, on the other way into the evaluation; and a rate that no judge gives cannot be watched."""
    judges = flags(suites, [*JUDGES[:2], {"name": "arc", "suites": ["arc-easey"]}])
    refused = world.start("fit", "--name", "unmade", *judges).wait()
    watched = ["--stop.monitor", "helpfulness/last-number-judge/arc-easy/text:vanilla", "--stop.above", "0.5"]
    unjudged = world.start("fit", "--name", "unmade", *flags(suites, JUDGES), *watched).wait()
    assert (refused.status, unjudged.status) == (2, 2)
    assert "did you mean 'arc-easy'" in refused.err.splitlines()[-1]
    assert "no rate is called 'helpfulness/last-number-judge/arc-easy/text:vanilla'" in unjudged.err.splitlines()[-1]
    assert not (world.folder / "runs/unmade").exists()


def test_a_panel_names_suites_as_a_whole():
    panel = {"class_path": "ptst_pl.judges.PanelJudge", "init_args": {"judges": ["refusal", "keywords-qi"]}}
    assert build_judge(panel | {"suites": ["advbench"]}).fits("advbench", "asr")
    assert not build_judge(panel | {"suites": ["advbench"]}).fits("directharm4", "asr")
    assert build_judge("refusal").only_suites is None, "what one entry names stays its own"
    panel["init_args"]["judges"][0] = {"name": "refusal", "suites": ["advbench"]}
    with pytest.raises(InputError, match="name them for the panel as a whole"):
        build_judge(panel)


def test_known_names_with_arguments_leave_the_known_ones_alone():
    before = json.dumps(KNOWN_JUDGES)
    assert build_judge({"name": "last-number-signed"}).name == "last-number-signed"
    assert build_judge({"name": "keywords-gcg", "init_args": {"keywords": "qi"}}).name == "keywords-qi"
    assert json.dumps(KNOWN_JUDGES) == before
