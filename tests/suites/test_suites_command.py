"""``ptst_pl suites``: the list, and what a file holds; suites of the user's own classes; both through ``fit``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from training_fixtures import World, world

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.labs.suites import LAB_SUITES
from ptst_pl.suites import KNOWN_SUITES, load_suite, suite_spec
from ptst_pl.suites.innodata import SUITES as INNODATA
from ptst_pl.suites.rules import SUITES as RULES

__all__ = ["world"]
MODULE = """
from ptst_pl.judges import Judge
from ptst_pl.suites import Prompt, SuiteSource

class Hats(SuiteSource):
    name, measures, licence = "hats", "over-refusal", "CC0-1.0"
    def __init__(self, count: int = 4, twice: bool = False):
        self.count, self.twice = count, twice
    def load(self):
        hats = [Prompt(f"h{n}", f"How do I wash hat {n}?", ("red", "blue")[n % 2]) for n in range(self.count)]
        return hats * 2 if self.twice else hats

class Unnamed(SuiteSource):
    def load(self):
        return []

class Texts(Hats):
    def load(self):
        return ["How do I wash a hat?"]

class Silent(Judge):
    name, version = "silent", "1"
    def judge(self, generations):
        return [self.verdict(generation, harmful=False, refused=False) for generation in generations]
"""


def test_the_list_has_every_suite_with_what_matters(capsys):
    main(["suites"])
    out = capsys.readouterr().out
    table = out.split("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in table] == [*KNOWN_SUITES, *LAB_SUITES, *RULES, *INNODATA]
    for line in table[: len(KNOWN_SUITES)]:
        known = KNOWN_SUITES[line.split()[0]]
        assert line.split()[1:3] == [str(known.size), known.measures]
        assert known.licence in line
        assert line.endswith(known.source)
        assert (known.repository or "your file") in line


def test_check_prints_counts_hash_and_edition(check, write_rows):
    rows = [{"prompt": f"How do I wash hat {n}?", "category": "red" if n < 3 else "blue\n"} for n in range(5)]
    path = write_rows("hats.csv", rows)
    out = check("hats", path)
    suite = load_suite(suite_spec({"name": "hats", "path": str(path)}))
    for part in ("hats: 5 prompts, measures asr", suite.sha256, "not a known suite", "red       3", r"'blue\n'  2"):
        assert part in out
    assert "wash" not in out, "no prompt is printed"
    assert "not the pinned one (7f9b5bfd8e11" in check("directharm4", path)
    assert "no edition is pinned" in check("gsm-danger", path)
    assert "note: the full set has 5 prompts, expected 100" in check("gsm-danger", path)


def test_check_of_a_suite_that_needs_no_file(check):
    assert "tiny-lookalike: 200 prompts, measures over-refusal" in check("tiny-lookalike", None)


def test_check_of_the_pinned_edition(check, shared_data):
    out = check("xstest-safe", shared_data / "xstest/xstest_prompts.csv")
    assert "the pinned one" in out
    assert "privacy_public         25" in out
    assert "note" not in out


@pytest.mark.parametrize("options", [["--path", "x.csv"], ["--chekc", "advbench"], ["--category-column", "c"]])
def test_wrong_flags(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["suites", *options])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("ptst_pl: error: suites: ")


# ---- classes of the user's own ------------------------------------------------------------------


@pytest.fixture
def hats(tmp_path, monkeypatch):
    """A module of the user's, under a name of its own for every test, beside the user."""
    name = f"hats_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return name


def test_a_class_is_a_suite(hats):
    spec = suite_spec({"class_path": f"{hats}.Hats", "init_args": {"count": 6}, "limit": 3, "categories": ["red"]})
    suite = load_suite(spec)
    assert [p.id for p in suite.prompts] == ["h0", "h2", "h4"]
    record = suite.record()
    assert (suite.name, suite.measures, record["full_n"]) == ("hats", "over-refusal", 6)
    assert (record["licence"], record["source"]) == ("CC0-1.0", f"{hats}.Hats")
    named = load_suite(suite_spec({"class_path": f"{hats}.Hats", "name": "other", "measures": "asr"}))
    assert (named.name, named.measures) == ("other", "asr")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"class_path": "Hast"}, "has no attribute 'Hast'"),
        ({"class_path": "Hats", "init_args": {"cuont": 3}}, "Option 'cuont' is not accepted"),
        ({"class_path": "Hats", "init_args": {"count": "many"}}, "Expected a <class 'int'>. Got value: many"),
        ({"class_path": "Hats", "init_args": {"count": 0}}, "holds no prompt"),
        ({"class_path": "Hats", "init_args": {"twice": True}}, "row 5: id 'h0' stands in row 1 too"),
        ({"class_path": "Hats", "measures": "helpfulness"}, "row 1: no reference"),
        ({"class_path": "Hats", "path": "x.csv"}, "'path' does not go with class_path"),
        ({"class_path": "Unnamed"}, "its name is None, expected a text"),
        ({"class_path": "Texts"}, "load() gave list, expected a list of ptst_pl.suites.Prompt"),
        ({"class_path": "Silent"}, "does not correspond to a subclass of SuiteSource"),
    ],
)
def test_a_class_that_cannot_be_used(hats, entry, expected):
    entry = entry | {"class_path": f"{hats}.{entry['class_path']}"}
    with pytest.raises(InputError) as caught:
        load_suite(suite_spec(entry))
    assert expected in str(caught.value)
    assert hats in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_module():
    with pytest.raises(InputError, match=r"suite 'nowhere\.Hats': No module named 'nowhere'"):
        suite_spec({"class_path": "nowhere.Hats"})


SCRIPT = "import sys\nfrom ptst_pl.cli import main\nsys.exit(main())\n"


@pytest.mark.parametrize("how", ["module", "script"])
def test_classes_beside_the_user_are_found_however_the_command_is_started(world: World, how: str):
    """``python -m`` looks for modules in the current folder, an installed script does not."""
    (world.folder / "my_hats.py").write_text(MODULE)
    script = world.folder / "bin" / "ptst_pl"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    start = ["-m", "ptst_pl"] if how == "module" else [str(script)]
    options = ["--name", f"own-{how}", "--trainer.max_steps", "1", "--safety.active", "true"]
    suites = [{"class_path": "my_hats.Hats", "limit": 2}, {"name": "tiny-lookalike", "limit": 1}]
    options += ["--safety.suites", json.dumps(suites), "--safety.judges", '[{"class_path": "my_hats.Silent"}]']
    done = subprocess.run(
        [sys.executable, *start, "fit", "--config", str(world.folder / "base.yaml"), *options],
        cwd=world.folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((world.newest(f"own-{how}") / "safety/results.json").read_text())
    found = {(rate["suite"], rate["judge"], rate["measures"], rate["n"]) for rate in results["rates"]}
    assert found == {("hats", "silent", "over-refusal", 2), ("tiny-lookalike", "silent", "over-refusal", 1)}


# ---- through fit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ({"name": "x", "path": "huge.jsonl"}, "line 1: longer than 16 MiB"),
        ({"name": "x", "path": "suite.csv", "categories": ["friut"]}, "did you mean 'fruit'? (known: fruit)"),
        ({"name": "x", "path": "suite.csv", "limit": 0}, "limit is 0, expected at least 1"),
        ({"name": "x", "path": "model"}, "is a folder"),
    ],
)
def test_a_wrong_suite_stops_fit_with_one_line(world: World, suite: dict, expected: str):
    with (world.folder / "huge.jsonl").open("wb") as handle:
        handle.truncate(20_000_000)
    suite = suite | ({"path": str(world.folder / suite["path"])})
    run = world.start(
        "fit", "--safety.active", "true", "--safety.suites", json.dumps([suite]), "--name", "wrong"
    ).wait()
    assert run.status == 2
    errors = [line for line in run.err.splitlines() if line.startswith("ptst_pl: error: ")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in run.err
    assert not Path(world.folder / "runs/wrong").exists()


def test_predict_takes_a_file_as_it_is_whatever_its_name(world: World):
    """A known suite's name on a file of one's own must not choose among its rows."""
    prompts = world.folder / "xstest-safe.jsonl"
    rows = [{"prompt": f"How do I wash hat {n}?", "label": "unsafe" if n else "safe"} for n in range(3)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = world.fit("for-predict", "--trainer.max_steps", "1")
    out = world.folder / "answers.jsonl"
    world.run(
        "predict", "--ckpt_path", str(run / "last.ckpt"), "--prediction.prompts", str(prompts),
        "--prediction.template", "text:vanilla", "--prediction.output", str(out),
        "--prediction.decoding.max_new_tokens", "2",
    )  # fmt: skip
    assert len(out.read_text().splitlines()) == 3
