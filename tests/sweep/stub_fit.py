"""Stands in for ``python -m ptst_pl`` in tests of the sweep: leaves what a fit leaves, as slowly as it is told to.

``STUB_HOLD`` is a file; while it is there, every run stays at its second step. ``STUB_FAIL`` is a part of the names
of runs that fail. Two processes at once in one run folder are noted in ``clash``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import yaml

from ptst_pl.judges.base import summarise
from ptst_pl.results.records import ResultsFolder, Verdict
from ptst_pl.results.runs import new_version, newest_version

STEPS = 4


def main(words: list[str]) -> None:
    assert words[0] == "fit"
    assert words[-2:] == ["--ckpt_path", "last"]
    config = yaml.safe_load(Path(words[words.index("--config") + 1]).read_text())
    home = Path(config["runs"]) / config["name"]
    alone = home / "active"
    mine = home / f"pid-{os.getpid()}"
    mine.write_text(str(os.getpid()))
    try:
        os.link(mine, alone)  # it is there with its process number in it, or not at all
    except FileExistsError:
        (home / "clash").touch()
    mine.unlink()
    with (home / "attempts").open("a") as handle:
        handle.write(" ".join([str(os.getpid()), os.environ.get("CUDA_VISIBLE_DEVICES", "-")]) + "\n")
    try:
        train(config, home)
    finally:
        alone.unlink()


def train(config: dict, home: Path) -> None:
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(1))
    if (fail := os.environ.get("STUB_FAIL")) and fail in config["name"]:
        print("Traceback (most recent call last):\nRuntimeError: \x1b[31mno room on the device")
        sys.exit(1)
    version = newest_version(home)
    if not list(version.glob("step-*.ckpt")):
        version = new_version(home)
        (version / "config.yaml").write_text(yaml.safe_dump({**config, "ckpt_path": None}))
    first = max((int(path.stem[5:]) for path in version.glob("step-*.ckpt")), default=0) + 1
    for step in range(first, STEPS + 1):
        (version / f"step-{step:06d}.ckpt").touch()
        while step == 2 and not stop and Path(os.environ.get("STUB_HOLD", "nowhere")).exists():
            time.sleep(0.02)
        if stop:
            sys.exit(1)
    template, seed = config["data"]["init_args"]["template"], config["seed_everything"]
    harmful = (3 * len(template) + seed) % 10
    verdicts = [
        Verdict("fruit", str(n), tested, STEPS, "refusal", harmful=n < harmful, refused=n >= harmful)
        for tested in config["safety"]["templates"]
        for n in range(10)
    ]
    ResultsFolder(version / "safety", {"train_template": template}).add([], verdicts, summarise(verdicts), STEPS)
    (version / "adapter").mkdir()


if __name__ == "__main__":
    main(sys.argv[1:])
