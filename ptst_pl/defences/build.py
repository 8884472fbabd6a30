"""Defences from a config: a short name, with arguments beside it, or a class path."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from ptst_pl import InputError, did_you_mean, input_error_in
from ptst_pl.defences.base import Defence

# short name -> (module, class); the order of the list of defences
DEFENCES = {
    "mixing": ("mixing", "SafetyMixing"),
    "backdoor": ("backdoor", "BackdoorAlign"),
    "inoculation": ("inoculation", "Inoculation"),
    "constrained": ("constrained", "ConstrainedSFT"),
    "kl": ("kl", "KLToReference"),
    "sppft": ("sppft", "SPPFT"),
    "low-rate": ("low_rate", "LowRate"),
    "ema": ("ema", "EMA"),
    "lisa": ("lisa", "Lisa"),
    "lookahead": ("lookahead", "LookAhead"),
    "sdft": ("self_distillation", "SelfDistillation"),
    "panacea": ("panacea", "Panacea"),
    "derta": ("derta", "DeRTa"),
    "salora": ("salora", "SaLoRA"),
    "steering": ("steering", "Steering"),
}


def short_name(kind: type[Defence]) -> str:
    """The short name of a class, or its class path."""
    path = f"{kind.__module__}.{kind.__qualname__}"
    own = {f"ptst_pl.defences.{module}.{name}": short for short, (module, name) in DEFENCES.items()}
    return "none" if kind is Defence else own.get(path, path)


def build_defence(spec: str | Mapping[str, Any] | None) -> Defence:
    """The defence that a config's section ``defence:`` names.

    Args:
        spec: a short name; or a mapping with ``name`` and arguments beside it, or with ``class_path`` and
            ``init_args``; None for plain fine-tuning.

    Raises:
        InputError: an unknown name or argument, or a value that the defence does not take.
    """
    if spec is None or spec == "none":
        return Defence()
    given: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    if ("name" in given) == ("class_path" in given):
        raise InputError(f"defence: expected either a name or a class_path, found {given}")
    if "name" in given:
        kind, arguments = _known(given.pop("name")), given
    else:
        kind, arguments = _of_path(str(given["class_path"])), dict(given.get("init_args") or {})
    known = [field.name for field in fields(kind) if field.init]
    where = f"defence {short_name(kind)}"
    if unknown := [key for key in arguments if key not in known]:
        shown = ", ".join(known) or "none"
        raise InputError(f"{where}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], known)} (known: {shown})")
    return _made(kind, arguments, where)


def _known(name: Any) -> type[Defence]:
    if name not in DEFENCES:
        raise InputError(
            f"defence: unknown name {name!r}{did_you_mean(str(name), DEFENCES)} (known: {', '.join(DEFENCES)}, or a "
            "class_path)"
        )
    module, kind = DEFENCES[name]
    found: type[Defence] = getattr(importlib.import_module(f"ptst_pl.defences.{module}"), kind)
    return found


def _of_path(path: str) -> type[Defence]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"defence: class_path {path!r} cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Defence)):
        raise InputError(f"defence: class_path {path!r} is no subclass of ptst_pl.defences.Defence")
    return found


def _made(kind: type[Defence], arguments: Mapping[str, Any], where: str) -> Defence:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "defence")
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    try:
        built = make(parser.parse_object({"defence": dict(arguments)}))["defence"]
    except (ArgumentError, ValueError) as error:
        cause = input_error_in(error)
        if cause is None and not isinstance(error, ArgumentError):
            raise
        raise InputError(str(cause) if cause else f"{where}: {' '.join(str(error).split())}") from error
    assert isinstance(built, Defence)
    return built
