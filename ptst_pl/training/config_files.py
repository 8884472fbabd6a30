"""Reading config files where LightningCLI does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError


def read_config(path: Path) -> dict[str, Any]:
    """The keys and values of a config.

    Raises:
        InputError: the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_keys(yaml.compose(text, yaml.SafeLoader), path, "")
        found = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"--config {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config {path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"--config {path}: no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise InputError(f"--config {path}: expected keys and values, found {type(found).__name__}")
    return found


def _check_keys(node: yaml.Node | None, path: Path, where: str) -> None:
    """Refuse a key that stands twice in one mapping: YAML would take the last one without a word."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _check_keys(item, path, f"{where}[{number}]")
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        inner, line = f"{where}.{name}" if where else name, key.start_mark.line + 1
        if name and name != "<<" and name in lines:
            raise InputError(f"--config {path}: key {inner!r} stands in line {lines[name]} and in line {line}")
        lines[name] = line
        _check_keys(value, path, inner)


def split_configs(argv: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files behind ``--config`` or ``-c``, and the other words of a command line."""
    files, rest = [], []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-c"):
            files.append(Path(value if equals else next(words, "")))
        else:
            rest.append(word)
    return files, rest
