"""``benchmarks/gpu.sh``, gone through on a processor, without the packages that the GPU's machine lacks."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
LACKING = ("datasets", "openai", "trl")
sys.path.insert(0, str(ROOT / "benchmarks"))
gpu = importlib.import_module("gpu_stages")


@pytest.mark.timeout(600)
@pytest.mark.skipif(torch.cuda.is_available(), reason="the script itself can run here: make gpu")
def test_the_whole_script_goes_through_on_a_processor(tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(f"import sys\nfor name in {LACKING}:\n    sys.modules[name] = None\n")
    environment = os.environ | {"PYTHONPATH": str(bare), "PYTHON": sys.executable, "WHEELS": str(tmp_path / "none")}
    words = ["sh", str(ROOT / "benchmarks/gpu.sh"), "--rehearse", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        words, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out/gpu.json").read_text())
    assert [name for name in found if name != "made"] == [stage.name for stage in gpu.STAGES]
    assert not [name for name, stage in found.items() if "failed" in stage]
    assert found["smoke"]["found"]["largest difference of losses"] == 0, "here both sides are the same processor"
    assert "skipped" in found["tests"]["found"]
    stopped = found["paper"]["found"]
    assert stopped["steps before the stop"] + len(stopped["losses"]) >= 4
    assert found["made"]["rehearsal"]


def stage(name, seconds, run):
    return gpu.Stage(name, name, seconds, run)


def test_a_stage_that_hangs_is_stopped_and_the_next_one_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "LEAST", 0.2)
    stages = [
        stage("hangs", 0.25, lambda place: place.python("-c", "import time; time.sleep(99)", log="a.log")),
        stage("breaks", 9, lambda place: place.python("-c", "raise SystemExit('no room')", log="b.log")),
        stage("works", 9, lambda place: 7),
    ]
    assert gpu.run(stages, gpu.Place(tmp_path, True), 60) == 2
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "out of time" in found["hangs"]["failed"]
    assert "no room" in found["breaks"]["failed"]
    assert found["works"]["found"] == 7
    assert gpu.run([stage("late", 9, lambda place: 8)], gpu.Place(tmp_path, True), 0) == 0
    assert "late: no time left" in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu.json").read_text())["works"]["found"] == 7, "what was found stays"


def test_without_a_device_it_says_so(capsys, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit) as stopped:
        gpu.main(["--out", str(tmp_path / "x")])
    assert stopped.value.code == 2
    assert "no CUDA device here" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_budgets_are_those_that_were_promised():
    """Nine minutes in all, the first four stages in five and a bit; see the issue of the first contact with a GPU."""
    assert sum(stage.seconds for stage in gpu.STAGES) <= 600
    assert sum(stage.seconds for stage in gpu.STAGES[:4]) <= 360
