"""What a run is: another base, text, data or decoding is one line and no number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file
from training_fixtures import World, llama_config, save_random, world  # noqa: F401

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.model.base_identity import base_identity
from ptst_pl.report.discover import find_runs
from ptst_pl.report.matrix import train_test_tables
from ptst_pl.results.identity import check_same, differences, model_key

ACTIVE = ["--safety.active", "true"]
OWN = "--templates"
TEXT = {"text:vanilla": {"user": "Be careful. {input}"}}  # other words under the training template's name


STORED = {
    "base": {"name": "a", "weights": "1", "config": "c"},
    "training": {"seed": 1, "template": {"system": None}},
}


class TestRecord:
    def test_the_same_under_another_name_is_the_same(self):
        assert differences(STORED, {"base": {"name": "moved/a", "weights": "1"}}) == []

    def test_what_only_one_knows_is_not_compared(self):
        assert differences({}, STORED) == differences({"base": {"weights": None}}, STORED) == []
        assert model_key({}, 3) is None

    def test_what_differs_is_named_with_both_values(self):
        (found,) = differences(STORED, {"training": {"seed": 2}})
        assert found == "training.seed (1 there, 2 here)"
        with pytest.raises(
            InputError, match=r"here: not the same thing: the base model's weights: a there, b here \(1 the"
        ):
            check_same("here", STORED, {"base": {"name": "b", "weights": "2"}}, "mend it")

    def test_one_seed_made_twice_is_one_model_and_another_seed_another(self):
        again = json.loads(json.dumps(STORED))
        assert model_key(STORED, 5) == model_key(again, 5) != model_key(STORED, 6)
        again["training"]["seed"] = 2
        assert model_key(again, 5) != model_key(STORED, 5)
        assert model_key(again, 0) == model_key(STORED, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_random(llama_config(64), folder)
    return folder


class TestBase:
    def test_a_moved_or_resharded_folder_is_the_same(self, model, tmp_path):
        from ptst_pl.model import load_model

        expected = base_identity(str(model))
        shutil.copytree(model, tmp_path / "moved")
        load_model(str(model), "float32").save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        for place in ("moved", "shards"):
            found = base_identity(str(tmp_path / place))
            assert (found["config"], found["weights"]) == (expected["config"], expected["weights"]), place
        assert differences({"base": expected}, {"base": base_identity(str(tmp_path / "moved"))}) == []

    @pytest.mark.parametrize("place", [0, -1])
    def test_one_changed_number_in_one_tensor_is_another(self, model, tmp_path, place):
        shutil.copytree(model, tmp_path / "model")
        tensors = load_file(model / "model.safetensors")
        for name in tensors:
            changed = {key: value.clone() for key, value in tensors.items()}
            changed[name].view(-1)[place] += 1
            save_file(changed, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
            assert base_identity(str(tmp_path / "model"))["weights"] != base_identity(str(model))["weights"], name

    def test_a_name_that_was_never_downloaded_is_unknown(self):
        assert base_identity("no/such") == {"name": "no/such", "revision": None, "config": None, "weights": None}


@pytest.fixture(scope="module")
def run(world: World) -> Path:  # noqa: F811
    """A finished run, another base of the same shape beside it, and other rows of the same count."""
    world.run("fit", "--name", "one", *ACTIVE)
    other = world.folder / "other"
    shutil.copytree(world.folder / "model", other)
    tensors = {name: tensor + 0.01 for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    shutil.copytree(world.folder / "model", world.folder / "moved")
    for name in ("train", "suite"):
        end = {"train": "jsonl", "suite": "csv"}[name]
        text = (world.folder / f"{name}.{end}").read_text()
        (world.folder / f"{name}-changed.{end}").write_text(text.replace("pears", "kiwis"))
    return world.folder / "runs/one/version_0"


def flags(world: World) -> dict[str, tuple[list[str], str]]:  # noqa: F811
    suite = [{"name": "fruit", "path": str(world.folder / "suite-changed.csv")}]
    return {
        "another base": (["--model.pretrained", str(world.folder / "other")], "the base model's weights"),
        "other rows": (["--data.train_file", str(world.folder / "train-changed.jsonl")], "the training rows"),
        "another rate": (["--model.learning_rate", "0.5"], "training.learning_rate"),
        "other text": ([OWN, json.dumps(TEXT)], "training.template.user"),
        "other prompts": (["--safety.suites", json.dumps(suite)], "safety.suites.fruit"),
        "other decoding": (["--safety.decoding.max_new_tokens", "3"], "safety.decoding.max_new_tokens"),
        "another test template": (["--safety.templates", "[chat:llama]"], "safety.names.templates"),
    }


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_records_are_written(world: World, run: Path):  # noqa: F811
    stored = json.loads((run / "safety/results.json").read_text())["identity"]
    assert stored["base"]["weights"] == base_identity(str(world.folder / "model"))["weights"]
    assert stored["training"]["template"]["name"] == "text:vanilla"
    assert stored["training"]["seed"] == yaml.safe_load((run / "config.yaml").read_text())["seed_everything"]


KINDS = [
    "another base", "other rows", "another rate", "other text", "other prompts", "other decoding",
    "another test template",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_goes_on_with_the_same_thing_only(world: World, run: Path, kind):  # noqa: F811
    before = contents(run)
    more, expected = flags(world)[kind]
    refused = world.start(
        "fit", "--name", "one", *ACTIVE, "--ckpt_path", "last", "--trainer.max_epochs", "3", *more
    ).wait()
    assert refused.status == 2, refused.err
    (line,) = [line for line in refused.err.splitlines() if "error" in line]
    assert expected in line
    assert "another --name" in line
    assert contents(run) == before


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_checkpoint_is_evaluated_on_its_own_base_format_and_text(world: World, run: Path, command):  # noqa: F811
    own = {
        "fit": [],
        "predict": ["--prediction.prompts", str(world.folder / "suite.csv"), "--prediction.template", "chat:llama"],
    }
    for more, expected in (
        (["--model.pretrained", str(world.folder / "other")], "the base model's weights"),
        (["--chat_format", "mistral"], "training.chat_format (llama2 there, mistral here)"),
        (["--chat_options.special_tokens", "served"], "training.chat_options.special_tokens (text there, served here)"),
        ([OWN, json.dumps(TEXT)], "training.template.user"),
    ):
        before = contents(run)
        words = ["--name", "one", "--ckpt_path", "last", *ACTIVE, *own.get(command, []), *more]
        refused = world.start(command, *words).wait()
        assert refused.status == 2, (expected, refused.err)
        assert expected in refused.err.strip().splitlines()[-1]
        assert contents(run) == before


def test_a_moved_base_is_the_same_thing(world: World, run: Path):  # noqa: F811
    world.run(
        "test", "--name", "one", *ACTIVE, "--ckpt_path", "last", "--model.pretrained", str(world.folder / "moved")
    )
    stored = json.loads((run / "test/version_0/results.json").read_text())["identity"]
    assert stored["base"]["name"] == str(world.folder / "moved")
    assert stored["training"]["template"]["name"] == "text:vanilla"


def test_a_run_and_the_test_of_its_own_checkpoint_are_one_run(world: World, run: Path):  # noqa: F811
    """So is one seed made twice; another seed is another run."""
    tested = run / "test" / "version_0"
    if not tested.exists():
        world.run("test", "--name", "one", *ACTIVE, "--ckpt_path", "last")
    found = find_runs([run, tested])
    assert [one.path for one in found.runs] == [run]
    assert any("the very model of" in line for line in found.missing)
    again, other = world.fit("again", *ACTIVE), world.fit("seed", *ACTIVE, "--seed_everything", "2")
    assert [one.path for one in find_runs([run, again, other]).runs] == [run, other]


def test_different_bases_are_never_averaged(world: World, run: Path):  # noqa: F811
    strange = world.fit("strange", *ACTIVE, "--seed_everything", "3", "--model.pretrained", str(world.folder / "other"))
    rows = {one.trained for one in find_runs([run, strange]).runs}
    assert len(rows) == 2, rows
    text = train_test_tables(find_runs([run, strange]).runs)
    assert "2 runs" not in text


def test_a_tiny_test_does_not_decide_what_the_card_says(world: World, run: Path, tmp_path, capsys):  # noqa: F811
    """2 prompts and 2 tokens, newer than the run's own curve: neither its rate nor its limit is the model's."""
    suite = [{"name": "fruit", "path": str(world.folder / "suite.csv"), "limit": 2}]
    more = ["--safety.suites", json.dumps(suite), "--safety.decoding.max_new_tokens", "2"]
    world.run("test", "--name", "one", *ACTIVE, "--ckpt_path", "last", *more)
    main(["export", str(run), "--output", str(tmp_path / "out")])
    card = (tmp_path / "out/README.md").read_text()
    assert "of 5;" in card
    assert "(0 of 2;" not in card
    assert "too few answers" in card
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["max_new_tokens"] == 4


def test_export_merges_into_the_base_that_was_trained_on_alone(world: World, run: Path, tmp_path, capsys):  # noqa: F811
    shutil.copytree(run, tmp_path / "copy")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["pretrained"] = str(world.folder / "other")
    (tmp_path / "copy/config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(tmp_path / "copy"), "--output", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "the base model's weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_old_checkpoint_without_a_record_goes_on(world: World, run: Path):  # noqa: F811
    import torch

    old = world.folder / "runs/old/version_0"
    shutil.copytree(run, old)
    for file in old.glob("*.ckpt"):
        contents = torch.load(file, weights_only=False)
        del contents["identity"]
        torch.save(contents, file)
    stored = json.loads((old / "safety/results.json").read_text())
    (old / "safety/results.json").write_text(json.dumps({key: stored[key] for key in stored if key != "identity"}))
    world.run("fit", "--name", "old", *ACTIVE, "--ckpt_path", "last", "--trainer.max_epochs", "3")
    more = ["--data.template", "chat:vanilla"]
    refused = world.start("fit", "--name", "old", *ACTIVE, "--ckpt_path", "last", *more).wait()
    assert refused.status == 2
