"""What comes with the program, from a checkout or a wheel: configs, the bundled model, the real lab's adapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# A checkout has them beside the package, a wheel within it.
_PLACES = (_PACKAGE.parent, _PACKAGE / "shipped")
# Keys of a config whose values may be shipped folders.
_MODEL = re.compile(r"^  (pretrained|adapter): (checkpoints/\S+)", re.MULTILINE)


def shipped(name: str) -> Path | None:
    """A file or folder that comes with the program.

    Args:
        name: its path in the repository, such as ``checkpoints/tiny-chat``.
    """
    marks = ((_PLACES[0], _PLACES[0] / "pyproject.toml"), (_PLACES[1], _PLACES[1]))
    return next((place / name for place, mark in marks if mark.exists() and (place / name).exists()), None)


def shipped_configs() -> list[str]:
    """Names that ``--config`` takes, such as ``tiny/ptst``."""
    folder = shipped("configs")
    return [] if folder is None else sorted(str(f.relative_to(folder).with_suffix("")) for f in folder.rglob("*.yaml"))


def with_shipped_configs(argv: Sequence[str]) -> list[str]:
    """A command line with paths for the names of shipped configs, and for the shipped folders that they name."""
    words: list[str] = []
    for place, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        is_value = place > 0 and argv[place - 1] in ("--config", "-c")
        name = value if flag in ("--config", "-c") and equals else word if is_value else ""
        found = _config(name) if name else None
        words.append(word if found is None else f"{flag}={found}" if equals and not is_value else str(found))
        words += _model(found) if found is not None else []
    return words


def _config(name: str) -> Path | None:
    if Path(name).exists():
        return None
    plain = name.removeprefix("configs/").removesuffix(".yaml")
    return shipped(f"configs/{plain}.yaml") if plain and ".." not in Path(plain).parts else None


def _model(config: Path) -> list[str]:
    words = []
    for key, named in _MODEL.findall(config.read_text(encoding="utf-8")):
        found = None if Path(named).exists() else shipped(named)
        words += [f"--model.{key}", str(found)] if found else []
    return words
