"""The names at the top of the package, and the script of docs/python.md, run as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ptst_pl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", ptst_pl.__all__)
def test_every_name_is_there_and_on_the_page(name):
    assert getattr(ptst_pl, name) is not None
    assert name in dir(ptst_pl)
    if name not in ("did_you_mean", "input_error_in"):
        assert f"`{name}`" in PAGE or f"{name}," in PAGE


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nonesuch'"):
        _ = ptst_pl.Nonesuch


def test_the_script_is_short_and_prints_the_table(tmp_path):
    assert sum(bool(line.strip()) for line in SCRIPT.splitlines()) <= 16
    shutil.copytree(ROOT / "checkpoints/tiny-chat", tmp_path / "checkpoints/tiny-chat")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:ptst_pl", "-c", SCRIPT],
        cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if "tiny-hard" in line]
    assert [line.split()[0] for line in lines] == ["0"] * 4 + ["10"] * 4
    assert sum("ASR/exact-judge" in line for line in lines) == 4


def test_light_at_the_door():
    code = "import sys, ptst_pl\nprint([n for n in ('torch', 'transformers', 'lightning') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
