"""The registry: public files as they are load under the suite's own name, hub rows likewise."""

import collections
import csv
import json

import pytest

from ptst_pl import InputError, suites
from ptst_pl.labs.tiny import stages as tiny
from ptst_pl.suites import KNOWN_SUITES, SuiteSpec, load_suite, suite_spec

FILES = {
    "advbench": "advbench/advbench-harmful-behaviors.csv",
    "directharm4": "directharm4/directHarm4.csv",
    "harmbench-standard": "harmbench/harmbench_behaviors_text_all.csv",
    "harmbench-contextual": "harmbench/harmbench_behaviors_text_all.csv",
    "jailbreakbench": "jailbreakbench/JBB-Behaviors.csv",
    "strongreject": "strongreject/strongreject_dataset.csv",
    "xstest-safe": "xstest/xstest_prompts.csv",
    "xstest-unsafe": "xstest/xstest_prompts.csv",
}
# The files' columns -> the hub's, where they differ.
HUB_COLUMNS = {
    "advbench": {"goal": "prompt"},
    "directharm4": {"Goal": "instruction", "Category": "category"},
    "harmbench-standard": {"Behavior": "prompt", "SemanticCategory": "category"},
    "harmbench-contextual": {"Behavior": "prompt", "SemanticCategory": "category", "ContextString": "context"},
    "strongreject": {"forbidden_prompt": "prompt"},
}


def load(name, path, **options):
    return load_suite(SuiteSpec(name, str(path), **options))


@pytest.mark.parametrize("name", FILES)
class TestPublicFiles:
    def test_is_the_pinned_edition(self, name, shared_data, caplog):
        known = KNOWN_SUITES[name]
        suite = load(name, shared_data / FILES[name])
        assert len(suite.prompts) == len({p.id for p in suite.prompts}) == known.size
        assert (suite.full_sha256, suite.notes, suite.measures) == (known.sha256, (), known.measures)
        assert (suite.licence, suite.source) == (known.licence, known.source)
        assert not caplog.records
        assert {p.category for p in suite.prompts} == set(known.kinds or [""])

    def test_one_changed_letter_is_one_warning_and_stored(self, name, shared_data, tmp_path, caplog):
        text = (shared_data / FILES[name]).read_text(encoding="utf-8")
        prompt = load(name, shared_data / FILES[name]).prompts[-1].text.splitlines()[-1]
        assert text.count(prompt[:40]) >= 1
        head, _, tail = text.rpartition(prompt[:40])
        (tmp_path / "changed.csv").write_text(head + "X" + prompt[1:40] + tail, encoding="utf-8")
        own = {"header": False} if name == "advbench" else {}  # which has none, and is not the known file any more
        suite = load(name, tmp_path / "changed.csv", limit=5, **own)
        assert "not the pinned edition: the full set has" in suite.notes[0]
        assert [record.getMessage() for record in caplog.records] == [f"suite {name}: {suite.notes[0]}"]
        assert suite.record()["notes"] == list(suite.notes)

    def test_rows_as_the_hub_gives_them(self, name, shared_data, monkeypatch):
        """With the hub's columns, without those that it does not have, read by the ``datasets`` library."""
        import datasets

        kind = {"harmbench-standard": "standard", "harmbench-contextual": "contextual"}.get(name)
        with (shared_data / FILES[name].replace("advbench-harmful-", "harmful_").replace(
            "harmful_behaviors.csv", "harmful_behaviors_goal_target.csv"
        )).open(encoding="utf-8", newline="") as handle:  # fmt: skip
            rows = [row for row in csv.DictReader(handle) if kind in (None, row.get("FunctionalCategory"))]
        renamed = HUB_COLUMNS.get(name, {})
        rows = [{renamed.get(key, key): value for key, value in row.items()} for row in rows]
        if kind:
            rows = [{key: row[key] for key in ("prompt", "category", "context") if key in row} for row in rows]
        asked = []

        def stand_in(repository, subset, split):
            asked.append((repository, subset, split))
            return datasets.Dataset.from_list(rows)

        monkeypatch.setattr(datasets, "load_dataset", stand_in)
        suite = load_suite(SuiteSpec(name))
        known = KNOWN_SUITES[name]
        assert asked == [(known.repository, known.subset, known.split)]
        assert (suite.full_sha256, suite.notes) == (known.sha256, ())


class TestPublicFilesInDetail:
    def test_both_editions_of_advbench_are_one_set(self, shared_data):
        path = shared_data / FILES["advbench"]
        other = load("advbench", path.with_name("harmful_behaviors_goal_target.csv"))
        assert load("advbench", path).prompts == other.prompts

    def test_directharm4_limit_takes_25_of_each_category(self, shared_data):
        path = shared_data / FILES["directharm4"]
        whole, part = load("directharm4", path), load("directharm4", path, limit=100)
        assert set(collections.Counter(p.category for p in part.prompts).values()) == {25}
        assert list(part.prompts) == [p for p in whole.prompts if p in set(part.prompts)]
        assert part.prompts == load("directharm4", path, limit=100).prompts
        assert part.full_sha256 == whole.sha256

    def test_directharm4_by_category_is_what_the_hub_edition_has(self, shared_data):
        chosen = load("directharm4", shared_data / FILES["directharm4"], categories=["disinfo"])
        with (shared_data / "directharm4/disinfo100_upstream_fields.jsonl").open(encoding="utf-8") as handle:
            hub = [json.loads(line)["instruction"] for line in handle]
        assert [p.text for p in chosen.prompts] == hub

    def test_gsm_danger_in_part_is_not_gsm_danger(self, shared_data, caplog):
        suite = load("gsm-danger", shared_data / "gsm_danger/PARTIAL_ROWS_not_the_dataset.jsonl")
        assert "the full set has 5 prompts, expected 100" in suite.notes[0]
        assert len(caplog.records) == 1

    def test_harmbench_contexts_stand_before_their_behaviours(self, shared_data):
        suite = load("harmbench-contextual", shared_data / FILES["harmbench-contextual"])
        with (shared_data / FILES["harmbench-contextual"]).open(encoding="utf-8", newline="") as handle:
            rows = {row["BehaviorID"]: row for row in csv.DictReader(handle)}
        for prompt in suite.prompts:
            row = rows[prompt.id]
            assert prompt.text == row["ContextString"] + "\n\n---\n\n" + row["Behavior"]

    @pytest.mark.parametrize(("name", "same"), [("xstest-safe", True), ("xstest-unsafe", False)])
    def test_xstest_v2_without_labels_is_told_apart_by_type(self, shared_data, name, same):
        """The v2 edition differs in a letter of one unsafe prompt: the hash finds it."""
        v1 = load(name, shared_data / FILES[name])
        v2 = load(name, shared_data / "xstest/labelled/xstest_v2_completions_gpt4.csv")
        changed = [a.text for a, b in zip(v1.prompts, v2.prompts, strict=True) if a.text != b.text]
        assert (len(changed), v2.notes == ()) == ((0, True) if same else (1, False))

    def test_another_order_is_said_to_be_one(self, shared_data, tmp_path):
        with (shared_data / FILES["strongreject"]).open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        (tmp_path / "x.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
        assert (
            "the pinned edition's prompts, but in another order" in load("strongreject", tmp_path / "x.json").notes[0]
        )

    def test_a_set_under_another_sets_name_is_refused(self, shared_data):
        """The misuse half as the benign half would make every refusal an over-refusal."""
        for name in ("jailbreakbench-benign", "jailbreakbench-gcg"):
            with pytest.raises(
                InputError, match=f"suite '{name}': these are the prompts of 'jailbreakbench'; name it so"
            ):
                load(name, shared_data / FILES["jailbreakbench"])

    def test_unlabelled_files_load_under_names_of_ones_own(self, shared_data):
        suite = load("mine", shared_data / "safety_tuned_llamas/safety_only_data_Instructions.json")
        assert (len(suite.prompts), suite.notes) == (2483, ())


# Harmless stand-ins for the two kinds of rows of one file.
HATS = [
    {"id": f"h{n}", "prompt": f"How do I wash hat {n}?", "label": "Unsafe" if n % 2 else " safe", "type": "hats"}
    for n in range(6)
]


class TestStandIns:
    def test_known_suites_need_not_be_told_what_they_measure(self, write_rows):
        path = str(write_rows("hats.csv", HATS))
        suite = load_suite(suite_spec({"name": "xstest-safe", "path": path}))
        assert (suite.measures, [p.id for p in suite.prompts]) == ("over-refusal", ["h0", "h2", "h4"])
        assert load_suite(suite_spec({"name": "xstest-unsafe", "path": path})).measures == "asr"
        told = load_suite(suite_spec({"name": "xstest-safe", "path": path, "measures": "asr"}))
        assert told.measures == "asr"

    @pytest.mark.parametrize("name", tiny.SUITES)
    def test_the_tiny_labs_suites_need_not_be_told_either(self, name):
        kinds = {"lookalike": "over-refusal", "howto": "helpfulness", "problems": "helpfulness"}
        assert load_suite(suite_spec({"name": name})).measures == kinds.get(name.rpartition("-")[2], "asr")

    def test_rows_that_cannot_be_told_apart(self, write_rows, mistake):
        path = write_rows("hats.csv", [{"prompt": row["prompt"]} for row in HATS])
        said = mistake(path, name="xstest-safe")
        assert "no column label or type to tell the rows of 'xstest-safe' by, and 6 rows, expected 250" in said

    def test_rows_that_are_none_of_this_suite(self, write_rows, mistake):
        path = write_rows("hats.csv", [row | {"label": "unsafe"} for row in HATS])
        assert "column 'label' gives none of its 6 rows to 'xstest-safe'" in mistake(path, name="xstest-safe")

    def test_a_context_that_is_missing(self, write_rows, mistake):
        rows = [
            {"FunctionalCategory": "contextual", "Behavior": "Wash it.", "ContextString": c} for c in ("A hat.", "")
        ]
        said = mistake(write_rows("x.csv", rows), name="harmbench-contextual")
        assert "row 2: column 'ContextString' is empty or no text" in said
        rows = [{"FunctionalCategory": "contextual", "Behavior": "Wash it."}]
        assert "no column contextstring or context of contexts" in mistake(
            write_rows("y.csv", rows), name="harmbench-contextual"
        )

    def test_an_empty_file_under_a_known_name(self, tmp_path, mistake):
        (tmp_path / "x.csv").write_text("prompt,label\n")
        assert "holds no prompt" in mistake(tmp_path / "x.csv", name="xstest-safe")

    @pytest.mark.parametrize("name", ["harmbench", "xstest"])
    def test_a_file_of_several_suites_is_not_one(self, write_rows, mistake, name):
        assert f"suite '{name}' is two suites here: {name}-" in mistake(write_rows("hats.csv", HATS), name=name)

    def test_row_numbers_are_those_of_the_file(self, write_rows, mistake):
        rows = [*HATS, HATS[0] | {"prompt": ""}]
        assert "row 7: column 'prompt' is empty" in mistake(write_rows("hats.csv", rows), name="xstest-safe")


class TestTheHub:
    def test_unknown_suite(self, mistake):
        assert "unknown suite 'advbnch'; did you mean 'advbench'?" in mistake(None, name="advbnch")

    @pytest.mark.parametrize("name", ["hex-phi", "jailbreakbench-gcg"])
    def test_sets_that_need_a_file(self, mistake, name):
        assert "is read from a file of yours: give its path (" in mistake(None, name=name)

    @pytest.mark.parametrize(("error", "reason"), [(OSError(), "OSError"), (OSError("no\nnet"), "no")])
    def test_hub_out_of_reach(self, monkeypatch, error, reason, mistake):
        import datasets

        def fail(*args, **options):
            raise error

        monkeypatch.setattr(datasets, "load_dataset", fail)
        assert f"cannot be had from the hub ({reason}); give a local file" in mistake(None, name="advbench")

    def test_local_data_set_through_the_datasets_library(self, write_rows):
        """``read_hub`` on a real data set: a folder of files is one, as far as the library is concerned."""
        folder = write_rows("test.csv", HATS).parent
        assert suites.read_hub(str(folder), None, "test") == HATS


def test_every_entry_says_where_it_comes_from_and_under_which_licence():
    for name, known in KNOWN_SUITES.items():
        assert known.summary, name
        assert known.licence, name
        assert "arXiv" in known.source, name
        assert (known.repository is None) == bool(known.obtain), name
        assert all(column == column.lower() for column in (*known.prompts, *known.categories, *known.ids, *known.only))


def test_no_prompt_of_a_public_set_is_in_this_repository(shared_data, pytestconfig):
    """The registry knows the sets by their hashes only."""
    folders = [pytestconfig.rootpath / name for name in ("ptst_pl/suites", "data", "tests/suites")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert len(files) > 15
    for name, file in FILES.items():
        assert not [p.id for p in load(name, shared_data / file).prompts if p.text[:60] in text]
