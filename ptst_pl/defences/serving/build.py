"""Defences at serving time from a config: a name, with arguments beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.defences.serving.base import ServingDefence
from ptst_pl.defences.serving.parden import Parden
from ptst_pl.defences.serving.safenudge import SafeNudge

SERVING: dict[str, type[ServingDefence]] = {"parden": Parden, "safenudge": SafeNudge}


def build_serving(spec: str | Mapping[str, Any] | None) -> ServingDefence | None:
    """The defence that ``safety.defence`` names; None for none.

    Raises:
        InputError: an unknown name or argument, or a value that it does not take.
    """
    if spec is None:
        return None
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if name not in SERVING:
        raise InputError(
            f"safety.defence: unknown name {name!r}{did_you_mean(str(name), SERVING)} (known: {', '.join(SERVING)})"
        )
    known = [one.name for one in fields(SERVING[name]) if one.init]
    for key in given:
        if key not in known:
            raise InputError(
                f"safety.defence {name}: unknown key {key!r}{did_you_mean(key, known)} (known: {', '.join(known)})"
            )
    return SERVING[name](**given)
