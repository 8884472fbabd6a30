"""Find a template by its name: the user's own, from a config, or a built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.templates.built_in import BUILT_IN_TEMPLATES
from ptst_pl.templates.template import PLACE, PromptTemplate

# Templates in a config. Not Any: the parser would read "Question: {input}" as a mapping.
OwnTemplates = dict[str, dict[str, str | list[tuple[str, str]] | None]]


def template_from_mapping(name: str, mapping: Mapping[str, Any]) -> PromptTemplate:
    """A user's template from a config: keys ``user`` and optionally the other fields.

    ``kind`` follows from the name's prefix (``chat:`` or ``text:``) when it is not given.

    Raises:
        InputError: an unknown or missing key, or a value that makes no template.
    """
    if "/" in name or "\\" in name or not name.isprintable() or name.startswith(".") or not 0 < len(name) <= 100:
        raise InputError(f"template name {name[:60]!r}: expected a short name without slashes, such as chat:mine")
    allowed = [field.name for field in fields(PromptTemplate) if field.name != "name"]
    if not isinstance(mapping, Mapping):
        raise InputError(f"template {name!r}: found {type(mapping).__name__}, expected keys {', '.join(allowed)}")
    for key in mapping:
        if key not in allowed:
            raise InputError(f"template {name!r}: unknown key {key!r}{did_you_mean(str(key), allowed)}")
    if not isinstance(mapping.get("user"), str):
        raise InputError(f"template {name!r}: key 'user' is missing or no text; it must hold {PLACE}")
    values = dict(mapping)
    values.setdefault("kind", "text" if name.split(":")[0] == "text" else "chat")
    for key in ("system", "separator", "before_close", "row_system", "row_input"):
        none_is_fine = key not in ("separator", "before_close") and values.get(key) is None
        if key in values and not isinstance(values[key], str) and not none_is_fine:
            raise InputError(f"template {name!r}: key {key!r} is no text but {values[key]!r}")
    values["shots"] = _shots(name, values.get("shots") or ())
    return PromptTemplate(name=name, **values)


def _shots(name: str, shots: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(shots, list | tuple):
        shots = [shots]
    pairs = [tuple(shot) if isinstance(shot, list | tuple) else () for shot in shots]
    if not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs):
        raise InputError(f"template {name!r}: key 'shots' must be a list of pairs [user text, assistant text]")
    return tuple((user, answer) for user, answer in pairs)


def find_template(name: str, extra: Mapping[str, Mapping[str, Any]] | None = None) -> PromptTemplate:
    """The template of that name: the user's own (``extra``) first, then the built-in ones.

    Raises:
        InputError: no template has that name.
    """
    if extra and name in extra:
        return template_from_mapping(name, extra[name])
    if name in BUILT_IN_TEMPLATES:
        return BUILT_IN_TEMPLATES[name]
    known = [*BUILT_IN_TEMPLATES, *(extra or ())]
    raise InputError(f"unknown template {name!r}{did_you_mean(str(name), known)} (known: {', '.join(known)})")
