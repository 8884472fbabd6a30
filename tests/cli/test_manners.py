"""What is given takes effect or is refused: names, trainer keys, config files, terminals, the bar."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from training_fixtures import World

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.results.runs import run_home
from ptst_pl.suites import suite_spec
from ptst_pl.templates import find_template
from ptst_pl.training.callbacks.progress import ProgressBar
from ptst_pl.training.config_files import read_config

OUTSIDE = ["../../x", "..", ".", "", "/tmp/x", "a/../../b", "a\\b", "a\0b", "x" * 300, " x", "a\nb"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_stays_below_the_runs_folder(name):
    with pytest.raises(InputError, match="--name"):
        run_home("checkpoints", name)


@pytest.mark.parametrize("name", ["run", "group/run", "tiny-ptst_2.b"])
def test_a_plain_name_is_one(name):
    assert run_home("checkpoints", name).as_posix() == f"checkpoints/{name}"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "a\0b", ".hidden", "x" * 200])
def test_suites_and_templates_are_no_paths(name):
    with pytest.raises(InputError, match="suite name"):
        suite_spec({"name": name, "path": "x.csv"})
    with pytest.raises(InputError, match="template name"):
        find_template(name, {name: {"user": "{input}"}})


REFUSED = {
    "a name that leaves the folder": (["--name", "../../x"], "--name '../../x'"),
    "no logger": (["--name", "x", "--trainer.logger", "false"], "trainer.logger is False and cannot take effect"),
    "another root": (["--name", "x", "--trainer.default_root_dir", "y"], "trainer.default_root_dir is 'y'"),
    "no checkpoints": (["--name", "x", "--trainer.enable_checkpointing", "false"], "use --checkpoint_every_n_steps"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_take_effect_is_refused(world: World, kind):
    flags, expected = REFUSED[kind]
    for command in ("fit", "test"):
        run = world.start(command, *flags).wait()
        assert run.status == 2, run.err
        assert expected in run.err.strip().splitlines()[-1]
    assert not (world.folder / "x").exists()
    assert not (world.folder.parent / "x").exists()


def test_another_logger_stands_beside_tensorboards(world: World):
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(world.folder / "csv")}}
    run = world.fit("logged", "--trainer.logger", json.dumps(logger), "--trainer.max_steps", "2")
    assert list(run.glob("events.out.tfevents.*"))
    (metrics,) = (world.folder / "csv").rglob("metrics.csv")
    assert "train/loss" in metrics.read_text()


def test_test_computes_the_held_out_loss_on_request_and_after_the_answers(world: World):
    world.fit("tested")
    words = ["--name", "tested", "--ckpt_path", "last", "--safety.active", "true"]
    assert "test/loss" not in world.run("test", *words).out
    asked = world.run("test", *words, "--held_out_loss", "true", "--results", str(world.folder / "with-loss")).out
    assert asked.index("test/loss") < asked.index("results in")
    assert "test/loss" in world.run("test", "--name", "tested", "--ckpt_path", "last").out, "without answers it is all"


CONFIGS = {
    "a key twice": (b"seed: 1\nname: a\nseed: 2\n", "key 'seed' stands in line 1 and in line 3"),
    "nested": (b"model:\n  a: 1\n  a: 2\n", "key 'model.a' stands in line 2 and in line 3"),
    "in a list": (b"x:\n  - {a: 1, a: 2}\n", "key 'x[0].a' stands"),
    "UTF-16": ("name: a\n".encode("utf-16"), "not UTF-8"),
    "Latin-1": ("name: é\n".encode("latin-1"), "not UTF-8"),
    "no YAML": (b"a: [1\n", "no YAML"),
    "a list": (b"- 1\n", "expected keys and values, found list"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_that_is_none_is_one_line(kind, tmp_path, capsys):
    data, expected = CONFIGS[kind]
    (tmp_path / "c.yaml").write_bytes(data)
    for command in ("fit", "plan"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--config", str(tmp_path / "c.yaml")])
        error = capsys.readouterr().err
        assert stopped.value.code == 2
        assert expected in error
        assert error.count("\n") == 1


def test_merge_keys_still_work(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc:\n  <<: *a\n  <<: *a\n")
    assert read_config(tmp_path / "c.yaml")["b"] == {"x": 1, "y": 2}


def test_a_terminal_without_unicode_is_no_reason_to_stop():
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    for words in (["suites"], ["templates"], ["--help"], ["fit", "--config", "nö.yaml"]):
        done = subprocess.run([sys.executable, "-m", "ptst_pl", *words], capture_output=True, env=environment)
        assert b"UnicodeEncodeError" not in done.stderr
        assert b"Traceback" not in done.stderr


def test_the_bar_moves_by_time():
    moments = iter([0.0, 100.0, 101.0, 129.0, 131.0, 132.0, 140.0])
    bar = ProgressBar(now=lambda: next(moments))
    bar._every = 30.0
    told = [bar._should_update(batch, 1000) for batch in (1, 2, 3, 4, 5, 6)]
    assert told == [True, True, False, False, True, False]
    assert bar._should_update(1000, 1000)
