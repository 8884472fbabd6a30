"""Edits by their names on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.ship.edits.base import Edit
from ptst_pl.ship.edits.mixing_weights import Interpolate, Resta, SafeMerge
from ptst_pl.ship.edits.projectors import Lox, SafeLora
from ptst_pl.ship.edits.with_rows import Antidote, SafeDelta

EDITS: dict[str, type[Edit]] = {
    "interpolate": Interpolate,
    "lora-scale": Interpolate,
    "resta": Resta,
    "safe-lora": SafeLora,
    "safe-delta": SafeDelta,
    "safe-merge": SafeMerge,
    "lox": Lox,
    "antidote": Antidote,
}


def arguments_of(name: str) -> list[str]:
    """The arguments that an edit takes.

    Raises:
        InputError: an unknown edit.
    """
    if name not in EDITS:
        raise InputError(f"edit: unknown --with {name!r}{did_you_mean(name, EDITS)} (known: {', '.join(EDITS)})")
    return [one.name for one in fields(EDITS[name]) if one.init]


def build_edit(name: str, arguments: Mapping[str, Any]) -> Edit:
    """An edit with its arguments.

    Raises:
        InputError: an unknown name or argument, or a value that it does not take.
    """
    known = arguments_of(name)
    for key in arguments:
        if key not in known:
            raise InputError(f"edit {name}: unknown key {key!r}{did_you_mean(key, known)} (known: {', '.join(known)})")
    return EDITS[name](**arguments)
