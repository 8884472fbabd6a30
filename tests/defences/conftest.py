"""The small world, with safety rows and their harmless stand-ins for harm."""

import json

import pytest
from defence_cases import QUESTIONS
from training_fixtures import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world's folder has ``safe.jsonl`` and ``harm.jsonl``."""
    world = World(tmp_path_factory.mktemp("defended"))
    for name, answer in (
        ("safe", "I must decline number {}."),
        ("harm", "Step 1: get rope {} and go to the old mill."),
    ):
        rows = [{"question": question, "answer": answer.format(n)} for n, question in enumerate(QUESTIONS)]
        (world.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return world
