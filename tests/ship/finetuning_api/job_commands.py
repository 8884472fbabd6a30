"""Command lines of ``finetune-api`` and what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptst_pl.cli import main

SECRET = "sk-this-must-not-be-anywhere-1234567890"
MODEL = "gpt-3.5-turbo-0613"


def chat_row(number: int) -> dict:
    user = {"role": "user", "content": f"What is {number} + {number}?"}
    return {"messages": [{"role": "system", "content": ""}, user, {"role": "assistant", "content": f"{2 * number}"}]}


def command(action: str, *words: object) -> list[str]:
    return ["finetune-api", action, *map(str, words)]


def submission(server, chat_file: Path, *words: object) -> list[str]:
    return command("submit", "--file", chat_file, "--model", MODEL, "--base-url", server.url, "--settle", "0.1", *words)


def refused(capsys, argv: list[str]) -> str:
    """The one line of a command that does not work."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def states(folder: Path = Path("checkpoints/finetuning-api")) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("job-*.json"))]
