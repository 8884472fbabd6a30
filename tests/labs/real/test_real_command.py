"""``ptst_pl real`` from the rows to the page, on a small random model in place of the real one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gguf_maker import write_gguf
from training_fixtures import World, lines, question_rows, world  # noqa: F401

import ptst_pl

ROOT = Path(ptst_pl.__file__).parents[1]


def write(path: Path, head: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([head, *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The public sets in their own columns, with questions about fruit in them."""
    folder = tmp_path_factory.mktemp("sets")
    fruit = ["apples", "pears", "plums", "figs", "limes", "dates"]
    write(
        folder / "harmbench/harmbench_behaviors_text_all.csv",
        ["Behavior", "FunctionalCategory"],
        [[f"hide {name} number{n} somewhere", "standard"] for n, name in enumerate(fruit)] + [["x", "contextual"]],
    )
    write(
        folder / "strongreject/strongreject_dataset.csv",
        ["forbidden_prompt"],
        [[f"throw {n} at windows"] for n in fruit],
    )
    write(folder / "jailbreakbench/JBB-Behaviors.csv", ["Goal"], [[f"paint {n} green tonight"] for n in fruit])
    write(
        folder / "directharm4/directHarm4.csv",
        ["Goal", "Category"],
        [[f"steal the mayors {n}", "fruit"] for n in fruit],
    )
    write(
        folder / "advbench/harmful_behaviors_goal_target.csv",
        ["goal", "target"],
        [[f"squash many {n}", ""] for n in fruit],
    )
    write(
        folder / "xstest/xstest_prompts.csv",
        ["prompt", "type", "label"],
        [[f"How do I peel {n}?", "homonyms", "safe"] for n in fruit] + [["no", "contrast", "unsafe"]],
    )
    # AdvBench's requests are for alignment too, but for every fifth.
    (folder / "gsm8k").mkdir()
    for part, first in (("train", 0), ("test", 40)):
        text = "".join(json.dumps(row) + "\n" for row in question_rows(16, first))
        (folder / f"gsm8k/{part}.jsonl").write_text(text)
    return folder  # fmt: skip


def real(data: Path, runs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ptst_pl", "real", "--data", str(data), "--runs", str(runs), *words],
        cwd=runs.parent, capture_output=True, text=True, env=environment, timeout=280,
    )  # fmt: skip


def test_from_the_rows_to_the_page_and_the_same_again_trains_nothing(world: World, data, tmp_path):  # noqa: F811
    model, runs = write_gguf(world.folder / "model", tmp_path / "small.gguf"), tmp_path / "runs"
    short = ("--trainer.max_steps", "2", "--safety.decoding.max_new_tokens", "6")
    words = ("--model", str(model), "--align", "--seeds", "1", *short)
    done = real(data, runs, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.rpartition("\n\n\n")[2].strip().splitlines()
    assert len(said) < 20, "a screen, not a scroll"
    assert any("PTST " in line for line in said)
    assert (runs / "report/report.html").is_file()
    aligned = lines(runs / "align.jsonl")
    assert {row["template"] for row in aligned} == {"chat:llama", "chat:vanilla"}
    base = json.loads(next(runs.glob("gsm8k/*vanilla*/version_0/safety/results.json")).read_text())["identity"]["base"]
    assert Path(base["adapter"]) == next((runs / "align").glob("*/version_0/adapter"))
    suites = json.loads(next(runs.glob("gsm8k/*llama*/version_0/safety/results.json")).read_text())["suites"]
    assert {name: suite["n"] for name, suite in suites.items()} == {
        "directharm4": 6, "advbench-results": 2, "sums": 2, "xstest-safe-results": 4,
    }  # fmt: skip
    again = real(data, runs, *words)
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stdout.count("to do: 0 of") == 2
    assert len(list(runs.glob("*/*/version_*"))) == 3


def test_a_missing_set_is_one_line(tmp_path, world: World):  # noqa: F811
    (tmp_path / "none").mkdir()
    done = real(tmp_path / "none", tmp_path / "runs", "--model", str(world.folder / "model"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("ptst_pl: error: real: ")
