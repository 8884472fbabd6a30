"""The judges that a command line names, with the options that each of them takes."""

from __future__ import annotations

import importlib
import inspect
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ptst_pl import InputError, did_you_mean
from ptst_pl.judges import Judge
from ptst_pl.judges.build import KNOWN_JUDGES, build_judge

# Flag -> the argument of a judge's class that it sets.
FLAGS = {
    "model": "model", "base-url": "base_url", "prompt": "prompt_file", "path": "path", "sheet": "sheet",
}  # fmt: skip


def chosen_judges(options: Namespace) -> list[Judge]:
    """The judges of ``--judge``; each option goes to every judge whose class takes it.

    Raises:
        InputError: an unknown judge, an option that none of them takes or that one of them needs, or
            two judges of one name.
    """
    given = {flag: getattr(options, flag.replace("-", "_")) for flag in FLAGS}
    values = {FLAGS[flag]: value for flag, value in given.items() if value is not None}
    values |= dict(map(_setting, options.set))
    specs = [_spec(name) for name in options.judge]
    taken = [_arguments(spec) for spec in specs]
    for name in values:
        if not any(_takes(arguments, name) for arguments in taken):
            raise InputError(f"judge: {_shown(name)}: not taken by {', '.join(options.judge)}{_known(name, taken)}")
    judges = [
        _build(name, spec, arguments, values) for name, spec, arguments in zip(options.judge, specs, taken, strict=True)
    ]
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise InputError(f"judge: two of the judges have one name ({', '.join(names)})")
    return judges


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"judge: --set {text!r}: expected key=value")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"judge: --set {text!r}: the value cannot be read ({error})") from error


def _spec(name: str) -> dict[str, Any]:
    if name in KNOWN_JUDGES:
        return KNOWN_JUDGES[name]
    if "." not in name:
        known = ", ".join(KNOWN_JUDGES)
        raise InputError(f"unknown judge {name!r}{did_you_mean(name, KNOWN_JUDGES)} (known: {known}, or a class path)")
    return {"class_path": name}


def _arguments(spec: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    """The arguments of a judge's class."""
    module, _, name = str(spec["class_path"]).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"judge class {spec['class_path']!r} cannot be had: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Judge)):
        raise InputError(f"judge class {spec['class_path']!r}: no subclass of ptst_pl.judges.Judge")
    return inspect.signature(found).parameters


def _takes(arguments: Mapping[str, inspect.Parameter], name: str) -> bool:
    return name in arguments or any(a.kind is inspect.Parameter.VAR_KEYWORD for a in arguments.values())


def _build(
    name: str, spec: dict[str, Any], arguments: Mapping[str, inspect.Parameter], values: Mapping[str, Any]
) -> Judge:
    own = {**spec.get("init_args", {}), **{key: v for key, v in values.items() if _takes(arguments, key)}}
    for key, argument in arguments.items():
        single = argument.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        if single and argument.default is inspect.Parameter.empty and key not in own:
            raise InputError(f"judge {name}: needs {_shown(key)}")
    return build_judge({**spec, "init_args": own})


def _shown(argument: str) -> str:
    """An argument as it is given on the command line."""
    flag = next((flag for flag, name in FLAGS.items() if name == argument), None)
    return f"--{flag}" if flag else f"--set {argument}=..."


def _known(name: str, taken: Sequence[Mapping[str, inspect.Parameter]]) -> str:
    names = dict.fromkeys(key for arguments in taken for key in arguments)
    return f" (they take: {', '.join(map(_shown, names))})" if names else " (they take no options)"
