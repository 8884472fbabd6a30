"""One source of a mixture: how it is written in a config, and the task that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from ptst_pl import InputError, did_you_mean, input_error_in
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.config_errors import explain
from ptst_pl.tasks.mixture_order import Amount
from ptst_pl.templates import find_template

KEYS = ("task", "name", "passes", "weight", "template")
# Options of a task that the mixture decides for all its sources.
SHARED = ("template", "tokenizer", "chat_format", "chat_options", "templates", "batch_size", "workers", "seed")


@dataclass(frozen=True)
class Source:
    """One part of a mixture."""

    name: str
    task: Task
    amount: Amount


def read_source(spec: Any, where: str, shared: Mapping[str, Any]) -> Source:
    """A source from its mapping in a config.

    Keys: ``task`` (a class name, or ``class_path`` and ``init_args``), either ``passes`` or ``weight``,
    and optionally ``name`` (default: the class name in lower case) and ``template``.

    Args:
        spec: the mapping.
        where: begins every message, such as ``mixture: source 2``.
        shared: options for the task from the mixture.

    Raises:
        InputError: anything in it that cannot be used.
    """
    if not isinstance(spec, Mapping):
        raise InputError(f"{where} is {spec!r}, expected the keys {', '.join(KEYS)}")
    for key in spec:
        if key not in KEYS:
            raise InputError(f"{where}: unknown key {key!r}{did_you_mean(str(key), KEYS)}")
    name = spec.get("name")
    where += f" ({name})" if name else ""
    amount = _amount(spec, where)
    template = spec.get("template")
    task = _task(spec.get("task"), shared if template is None else {**shared, "template": template}, where)
    name = type(task).__name__.lower() if name is None else name
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]+", name):
        raise InputError(f"{where}: name is {name!r}, expected letters, digits, and any of _ . : -")
    task.title = name
    return Source(name, task, amount)


def _task(spec: Any, options: Mapping[str, Any], where: str) -> Task:
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise InputError(f"{where}: 'task' is {spec!r}, expected a class name, or class_path and init_args")
    if unknown := [key for key in spec if key not in ("class_path", "init_args")]:
        raise InputError(f"{where}: 'task' has the key {unknown[0]!r}, expected class_path and init_args")
    own = dict(spec.get("init_args") or {})
    for key in SHARED:
        if key in own:
            place = "beside 'task'" if key == "template" else "for the whole mixture"
            raise InputError(f"{where}: {key!r} stands in the task's init_args; give it {place}")
    task = build_task(str(spec["class_path"]), {**options, **own}, where)
    try:
        find_template(task.template_name, task.own_templates)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return task


def _amount(spec: Mapping[str, Any], where: str) -> Amount:
    given = {key: spec[key] for key in ("passes", "weight") if spec.get(key) is not None}
    if len(given) != 1:
        found = "both were given" if given else "neither was given"
        raise InputError(f"{where}: give either 'passes' or 'weight'; {found}")
    ((key, value),) = given.items()
    top = 1 if key == "weight" else float("inf")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= top or value == float("inf"):
        expected = "a share above 0 and up to 1" if key == "weight" else "a number above 0"
        raise InputError(f"{where}: {key} is {value!r}, expected {expected}")
    return Amount(**{key: float(value)})


def build_task(class_path: str, options: Mapping[str, Any], where: str) -> Task:
    """A task from its class and arguments.

    Raises:
        InputError: an unknown class, a mixture, or arguments that the class does not take.
    """
    known = sorted(found.__name__ for found in _tasks(Task) if found.__module__.startswith("ptst_pl."))
    if class_path.rpartition(".")[2] == "Mixture":
        raise InputError(f"{where}: a mixture cannot be a source of a mixture; list its sources here")
    if "." not in class_path and class_path not in {found.__name__ for found in _tasks(Task)}:
        raise InputError(
            f"{where}: unknown task {class_path!r}{did_you_mean(class_path, known)} "
            f"(known: {', '.join(known)}, or a class path)"
        )
    # A parser of its own, so that nothing of an earlier config's source is mixed into this one.
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task", required=True)
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    spec = {"class_path": class_path, "init_args": dict(options)}
    try:
        built = make(parser.parse_object({"task": spec}))["task"]
    except (ArgumentError, ValueError) as error:
        cause = input_error_in(error)
        if cause is None and not isinstance(error, ArgumentError):
            raise
        reason = " ".join(str(cause).split()) if cause else explain(str(error), (), ()).removeprefix("key 'task': ")
        raise InputError(f"{where}: {reason}") from error
    assert isinstance(built, Task)
    return built


def _tasks(base: type[Any]) -> list[type[Any]]:
    """All tasks that were imported, but the mixture."""
    return [found for own in base.__subclasses__() for found in (own, *_tasks(own)) if found.__name__ != "Mixture"]
