"""Who may import whom: each room imports only the rooms before it, and never a heavy library too early."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ptst_pl

PACKAGE = Path(ptst_pl.__file__).parent

# Rooms from the ground up; a module may import from its own room and from those above it in this list.
ROOMS = [
    {
        "errors",
        "arguments",
        "config_errors",
        "templates",
        "rates",
        "identity",
        "intervals",
        "judge_accuracy",
        "thoughts",
    },
    {"disk", "records", "runs", "journal", "slurm"},
    {"tokenization", "suites", "tiny"},
    {"worker_signals", "ranks", "metrics", "endpoint"},
    {"batching"},
    {"loss", "attention"},
    {"modeling"},
    {"sharding"},
    {"generation"},
    {"judges", "defences"},
    {"cells", "evaluation", "endpoint_evaluation"},
    {"tasks", "finetuner", "strategies", "prediction", "callbacks"},
    {
        "report",
        "paper",
        "judging",
        "gate",
        "lints",
        "export",
        "finetuning_api",
        "config_files",
        "launch",
        "planning",
    },
    {"show", "training_cli", "plan_cli", "endpoint_cli", "sweep", "cli", "__main__"},
]
HEAVY = {"torch", "transformers", "peft", "lightning", "datasets", "tokenizers"}
# What a room may import from outside the standard library, where that is limited.
ALLOWED = {
    "errors": set(), "arguments": set(), "identity": set(), "intervals": {"scipy"}, "templates": set(), "rates": set(),
    "disk": set(), "thoughts": set(),
    "records": set(), "runs": set(), "slurm": set(),
    "report": {"matplotlib", "numpy", "scipy"}, "paper": {"scipy", "yaml"}, "gate": set(), "show": set(), "cli": set(),
}  # fmt: skip
NO_LIGHTNING = [
    *("tokenization", "suites", "tiny", "batching", "loss", "attention", "modeling", "sharding", "generation"),
    *("judges", "evaluation"),
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Full names of imported modules; those under TYPE_CHECKING are for the type checker only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def level(room: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS) if room in rooms)


def test_every_module_stands_in_a_known_room():
    assert {room_of(path) for path in modules()} - {"__init__"} <= set().union(*ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imports(path):
        if name.startswith("ptst_pl."):
            other = name.split(".")[1]
            assert level(other) <= level(room), f"{path.name} ({room}) imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_rooms_import_nothing_heavy(path):
    room = room_of(path)
    outside = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    if room in ALLOWED:
        assert not (outside & HEAVY) - ALLOWED[room]
    if room in NO_LIGHTNING:
        assert "lightning" not in {name.split(".")[0] for name in imports(path)}


def test_the_model_knows_no_task_no_judge_and_no_suite():
    known = imports(PACKAGE / "finetuner.py")
    assert not {name for name in known if name.split(".")[1:2] in (["tasks"], ["judges"], ["suites"])}
