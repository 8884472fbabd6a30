"""The defences that come after training, on the plain runs of ``ptst_pl defences run``: edits, filters, prompts.

Everything is a command that a user could type, and what is there already is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptst_pl.labs.own_commands import run, say
from ptst_pl.results.runs import LAST, newest_version, versions

# Served under chat:vanilla and chat:llama by all; these are prompts in the safety prompt's place.
PROMPTS = ["chat:vanilla", "chat:llama", "chat:self-reminder", "chat:icd"]
SAFE_ROWS = "{class_path: Tiny, init_args: {stage: safety, count: 400}}"
UNSAFE_ROWS = "{class_path: Tiny, init_args: {stage: unsafe, count: 400}}"
# For the classifier of safenudge; the suites of the table are not among them.
DEVELOPMENT = [
    {"name": "tiny-dev"}, {"name": "tiny-dev-lookalike", "measures": "over-refusal"},
    {"name": "tiny-problems", "measures": "helpfulness"},
]  # fmt: skip


def edits(unaligned: str) -> dict[str, list[str]]:
    """Words of ``ptst_pl edit`` by the name of a folder.

    Args:
        unaligned: the aligned model, fine-tuned on harm's stand-in. It also stands for the model before alignment,
            which the lab does not ship.
    """
    return {
        "interpolate": ["--with", "interpolate", "--alpha", "0.5"],
        "resta": ["--with", "resta", "--unaligned", unaligned],
        "safe-lora-official": ["--with", "safe-lora", "--base", unaligned, "--projector", "official"],
        "safe-lora-orthogonal": ["--with", "safe-lora", "--base", unaligned, "--projector", "orthogonal"],
        "safe-delta": ["--with", "safe-delta", "--rows", SAFE_ROWS],
        "antidote": ["--with", "antidote", "--rows", UNSAFE_ROWS],
    }


def after_training(config: Path, plain: Path, runs: Path, more: Sequence[str]) -> list[str]:
    """Edit and serve every plain run; returns the folders of results.

    Args:
        config: of the plain runs.
        plain: their folder.
        runs: where everything goes.
        more: further keys of fit.
    """
    place = runs / "after-training"
    unaligned = _unaligned(config, place, more)
    found = []
    sources = list(_finished(plain))
    for number, source in enumerate(sources, 1):
        say(f"after training, {number} of {len(sources)}: edits and serving defences on {source.parent.name}")
        found += list(_of_run(config, source, place / source.parent.name, unaligned, more))
    return found


def _finished(plain: Path) -> Iterator[Path]:
    """The newest version of every plain run."""
    for folder in sorted(path for path in plain.iterdir() if versions(path)):
        yield newest_version(folder)


def _unaligned(config: Path, place: Path, more: Sequence[str]) -> str:
    folder = place / "unaligned"
    if not versions(folder):
        say("after training: the aligned model made unsafe, which some edits look at")
        run(
            "fit", "--config", str(config), "--runs", str(place), "--name", "unaligned",
            "--data.stage", "unsafe", "--safety.active", "false", *more, quiet=True,
        )  # fmt: skip
    return str(newest_version(folder) / "model")


def _of_run(config: Path, source: Path, place: Path, unaligned: str, more: Sequence[str]) -> Iterator[str]:
    train = json.loads((source / "safety/results.json").read_text(encoding="utf-8"))["train_template"]
    common = ["--config", str(config), "--data.template", train]
    for name, words in edits(unaligned).items():
        folder, results = place / name / "model", place / name / "results"
        run("edit", str(source), *words, "--output", str(folder), quiet=True)
        run("test", *common, "--model.pretrained", str(folder), "--results", str(results), *more, quiet=True)
        yield str(results)
    trained = [*common, "--ckpt_path", str(source / LAST)]
    prompts = ["--safety.templates", json.dumps(PROMPTS)]
    results = place / "parden/results"
    run("test", *trained, "--results", str(results), *prompts, "--safety.defence", "parden", *more, quiet=True)
    yield str(results)
    nudge = {"name": "safenudge", "classifier": str(_classifier(source, place, trained, more)), "threshold": 0.9}
    results = place / "safenudge/results"
    run("test", *trained, "--results", str(results), "--safety.defence", json.dumps(nudge), *more, quiet=True)
    yield str(results)


def _classifier(source: Path, place: Path, trained: Sequence[str], more: Sequence[str]) -> Path:
    file, answers = place / "safenudge/classifier.npz", place / "safenudge/development"
    if not file.is_file():
        suites = ["--safety.suites", json.dumps(DEVELOPMENT)]
        run("test", *trained, "--results", str(answers), *suites, *more, quiet=True)
        run(
            "nudge-train", str(source), "--results", str(answers), "--judge", "exact", "--folds", "5",
            "--output", str(file), quiet=True,
        )  # fmt: skip
    return file
