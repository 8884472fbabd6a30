"""A section ``defence:`` of a config: names, arguments, and one line for what cannot be."""

import json
import re

import pytest
from defence_cases import CASES, PREFERENCE, SAFE, UNLEARNING
from training_fixtures import World

from ptst_pl import InputError
from ptst_pl.defences import DEFENCES, Defence, Setting, build_defence


class OwnDefence(Defence):
    """A user's own, named by its class path."""


@pytest.mark.parametrize("case", CASES)
def test_every_defence_is_built_and_recorded(case):
    arguments = CASES[case][0]
    defence = build_defence(arguments)
    assert defence.name == named(arguments)
    record, given = defence.record(), arguments.get("init_args", arguments)
    assert {key: record[key] for key in given} == given
    assert json.loads(json.dumps(record)) == record
    assert not any(key.startswith("_") for key in record)


def named(arguments):
    """A short name, or a class path."""
    return arguments.get("name") or arguments["class_path"]


def test_all_have_a_case_and_a_source():
    assert {named(arguments) for arguments, _ in CASES.values()} == {*DEFENCES, UNLEARNING, PREFERENCE}
    for arguments, _ in CASES.values():
        assert build_defence(arguments).source.startswith("arXiv ")


def test_none_and_a_class_path():
    assert build_defence(None).name == build_defence("none").name == "none"
    assert isinstance(build_defence({"class_path": "test_building.OwnDefence"}), OwnDefence)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("lissa", r"unknown name 'lissa'; did you mean 'lisa'\?"),
        ({"name": "kl", "wieght": 1}, r"defence kl: unknown key 'wieght'; did you mean 'weight'\?"),
        ({"name": "kl", "weight": "much"}, "defence kl: .*much"),
        ({"name": "kl", "weight": -1.0}, "weight is -1.0, expected 0 or more"),
        ({"name": "ema", "decay": 1.5}, "decay is 1.5, expected 0 to 1"),
        ({"weight": 1}, "expected either a name or a class_path"),
        ({"class_path": "no.such.Thing"}, "cannot be imported"),
        ({"class_path": "pathlib.Path"}, "no subclass of ptst_pl.defences.Defence"),
        ({"name": "sppft"}, "layers is None, expected the first and the last layer"),
        ({"name": "mixing", "safety": SAFE, "form": "nothing"}, "expected a text with {safety} once"),
    ],
)
def test_bad_sections_are_one_line(spec, expected):
    with pytest.raises(InputError, match=expected):
        build_defence(spec)


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        ({"name": "salora", "safety": SAFE}, Setting("full", "m"), "model.method is 'full', expected lora"),
        (
            {"name": "lisa", "guide": SAFE},
            Setting("lora", "m", sharded=True),
            "lisa makes steps of its own.*use trainer.strategy ddp",
        ),
        (
            {"class_path": "ptst_pl.defences.objectives.Preference"},
            Setting("full", "m", sharded=True),
            "keeps a copy of the model; use trainer.strategy ddp",
        ),
        ({"name": "sdft"}, Setting("lora", "m", sharded=True), "whole model on every rank; use trainer.strategy ddp"),
    ],
)
def test_what_cannot_be_combined_is_refused_before_a_model_is_loaded(given, setting, expected):
    with pytest.raises(InputError, match=expected):
        build_defence(given).check(setting)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--defence", "lisa"), "defence lisa: guide is None, expected a task"),
        (("--defence", '{"name": "sppft", "layers": [0, 7]}'), "the model has layers 0 to 1"),
        (("--defence", '{"name": "sppft", "layers": [0, 1]}'), "nothing would be trained"),
        (("--defence", "nothing-known"), "unknown name 'nothing-known'"),
    ],
)
def test_the_command_line_says_it_in_one_line(world: World, words, expected):
    run = world.start("fit", "--name", "bad", *words).wait()
    assert run.status == 2
    last = run.err.strip().splitlines()[-1]
    assert last.startswith("ptst_pl: error: ")
    assert expected in last
    assert "Traceback" not in run.err


def test_a_checkpoint_remembers_its_defence(world: World):
    """It cannot be gone on with under another one, nor tested as if its trained weights were the shipped ones."""
    steps = ("--trainer.max_epochs", "-1", "--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1")
    given = ("--defence", '{"name": "ema", "decay": 0.5}')
    run = world.fit("remember", *steps, "--trainer.max_steps", "3", *given)
    other = world.start(
        "fit", "--name", "r2", *steps, "--trainer.max_steps", "4", "--ckpt_path", str(run / "last.ckpt")
    )
    ended = other.wait()
    assert ended.status == 2
    assert "training.defence.name (ema there, none here)" in ended.err
    middle = ("--ckpt_path", str(run / "step-000002.ckpt"), "--safety.active", "true")
    ended = world.start("test", "--name", "r3", *middle).wait()
    assert ended.status == 2
    assert "ships other weights than it trains" in ended.err
    world.run("test", "--name", "r4", *middle, *given)
    world.run("test", "--name", "r5", "--ckpt_path", str(run / "last.ckpt"), "--safety.active", "true")


def test_the_plan_counts_a_defences_copies(world: World):
    """A frozen copy of all weights in full fine-tuning, none under LoRA; two copies of what EMA averages."""

    def moment(*words: str) -> dict[str, int]:
        found: dict[str, int] = json.loads(world.run("plan", "--json", *words).out)["memory"]["moments"]["micro-batch"]
        return found

    full = ("--model.method", "full")
    copied = moment(*full, "--defence", "kl")
    assert copied["copies of the defence"] == copied["weights"] > 0
    assert "copies of the defence" not in moment("--defence", "kl")
    averaged = moment("--defence", "ema")
    assert averaged["copies of the defence"] == averaged["optimiser state"]
    assert "copies of the defence" not in moment(*full)
    assert moment(*full, "--defence", '{"name": "sdft"}') == moment(*full)


def test_what_is_measured_are_the_weights_that_are_shipped(world: World):
    """An average that never moves ships the untouched model, also from a checkpoint in the middle of the run."""
    given = ("--defence", '{"name": "ema", "decay": 1.0}')
    steps = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "3", "--model.learning_rate", "1e-2")
    run = world.fit("still", *steps, *given, "--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1")
    whole = ("--trainer.limit_val_batches", "1.0")

    def loss(*words: str) -> float:
        out = world.run("validate", "--name", "still-loss", *whole, *words).out
        return float(re.search(r"val/loss\D+([\d.]+)", out)[1])

    untouched = loss()
    assert loss(*given, "--ckpt_path", str(run / "step-000002.ckpt")) == untouched
    assert loss(*given, "--ckpt_path", str(run / "last.ckpt")) == untouched
    plain = world.fit("moving", *steps)
    assert loss("--ckpt_path", str(plain / "last.ckpt")) != untouched
