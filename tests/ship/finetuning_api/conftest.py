"""A small chat file, a server, and commands without waiting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiktoken
from job_commands import SECRET, chat_row
from jobs_server import serving_jobs


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    """No waiting, a key in the environment, and no download of an encoding."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("ptst_pl.ship.finetuning_api.server.delay_s", lambda attempt, asked, jitter: 0.001)
    monkeypatch.setattr("ptst_pl.ship.finetuning_api.submit.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("ptst_pl.ship.finetuning_api.submit.PROCESSING_S", 0.2)


@pytest.fixture(autouse=True)
def _bytes_as_tokens(monkeypatch):
    """A real encoding that needs no download: every byte is a token."""
    ranks = {bytes([value]): value for value in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r"\s*\S+|\s+", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: encoding)


@pytest.fixture
def chat_file(tmp_path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(chat_row(n)) + "\n" for n in range(12)))
    return path


@pytest.fixture
def server():
    with serving_jobs() as running:
        yield running
