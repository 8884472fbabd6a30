"""Who may import whom: the table of docs/architecture.md, read as it stands there, against every import."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ptst_pl

PACKAGE = Path(ptst_pl.__file__).parent
DOCS = PACKAGE.parent / "docs/architecture.md"
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in DOCS.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]
FLOOR = {room: int(floor) for floor, room, _, _ in ROWS}
BESIDE = {room: set(filter(None, beside.split(", "))) for _, room, _, beside in ROWS}
MAY = {r: {o for o in FLOOR if FLOOR[o] < FLOOR[r] or o in BESIDE[r] or o == r} for r in FLOOR}
# Libraries that take seconds to load; a room (or a part of one) that must answer at once imports none of them.
HEAVY = {"torch", "transformers", "peft", "lightning", "datasets", "tokenizers"}
LIGHT = ("templates", "results", "report", "ship/gate", "cli")
LIGHTNING = ("tasks", "training", "ship", "planning", "sweep")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Full names of imported modules."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ptst_pl":
            found |= {f"ptst_pl.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def rooms_in(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("ptst_pl.")} & set(FLOOR)


def test_the_house_has_at_most_sixteen_rooms_on_eight_floors():
    assert {room_of(path) for path in modules()} - {"__init__"} == set(FLOOR)
    assert len(FLOOR) - 1 <= 16, "a seventeenth room beside cli.py: which one has outgrown its name?"
    assert max(FLOOR.values()) <= 8


def test_no_two_rooms_of_a_floor_need_each_other():
    circles = {(a, b) for a in BESIDE for b in BESIDE[a] if a in MAY[b]}
    assert not circles
    assert all(FLOOR[a] == FLOOR[b] for a in BESIDE for b in BESIDE[a])


@pytest.mark.parametrize("room", [*FLOOR])
def test_a_room_imports_only_what_the_table_allows(room):
    found = {p: rooms_in(imports(p)) - MAY[room] for p in modules() if room_of(p) == room}
    wrong = {str(path.relative_to(PACKAGE)): names for path, names in found.items() if names}
    assert not wrong


@pytest.mark.parametrize("room", [room for room in FLOOR if room != "cli"])
def test_every_arrow_on_a_floor_is_used_and_every_room_says_what_it_is_for(room):
    used = set().union(*(rooms_in(imports(path)) for path in modules() if room_of(path) == room))
    assert BESIDE[room] <= used, "an arrow that nobody needs is an invitation"
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert re.search(r"^In: .+ Out: .+", said, re.MULTILINE), "what comes in and what goes out"
    assert "May import: " in said


@pytest.mark.parametrize("place", LIGHT)
def test_light_rooms_import_nothing_heavy(place):
    for path in modules():
        if str(path.relative_to(PACKAGE)).removesuffix(".py").startswith(place):
            assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY, path


def test_lightning_stays_where_training_is():
    users = {room_of(path) for path in modules() if any(n.split(".")[0] == "lightning" for n in imports(path))}
    assert users <= set(LIGHTNING)


def test_the_model_and_its_module_know_no_task_no_judge_and_no_suite():
    for path in [*(PACKAGE / "model").rglob("*.py"), PACKAGE / "training/finetuner.py"]:
        assert not rooms_in(imports(path)) & {"tasks", "judges", "suites"}, path


def test_every_command_is_a_command_module():
    from ptst_pl.cli import COMMANDS

    for name, (module, _) in COMMANDS.items():
        assert module.split(".")[-1] == "command" or module.endswith("_command"), name
        assert (PACKAGE.parent / (module.replace(".", "/") + ".py")).is_file(), name


def test_every_file_that_the_walks_name_is_there():
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)*/?(?:\.py)?)`", DOCS.read_text(encoding="utf-8"))
    paths = [name for name in named if "/" in name and not name.startswith(("ptst_pl", "docs"))]
    assert len(paths) > 15
    assert [path for path in paths if not (PACKAGE / path).exists()] == []
