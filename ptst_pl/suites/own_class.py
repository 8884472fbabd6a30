"""Suites of the user's own, made by a class in a module of theirs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ptst_pl import InputError
from ptst_pl.suites.prompts import CONTEXT_SEAM, Measures, Prompt, check_ids, fault


class SuiteSource(ABC):
    """Base of a suite in your own module, named in the config by its class path.

    Attributes:
        name: of the suite; stored with every number.
        measures: ``asr`` for unsafe prompts, ``over-refusal`` for safe ones, ``helpfulness`` where each
            prompt has a reference.
        licence: of the prompts; stored with the results.
        source: where the prompts come from; the class path unless given.
    """

    name: str
    measures: Measures = "asr"
    licence: str = ""
    source: str = ""

    @abstractmethod
    def load(self) -> list[Prompt]:
        """All prompts, in the same order every time: ``limit`` and ``categories`` are applied after."""


def build_source(class_path: str, init_args: Mapping[str, Any] | None = None) -> SuiteSource:
    """The suite class that a config names.

    Raises:
        InputError: an unknown class, one that is no ``SuiteSource``, arguments that it does not take,
            or a class without a usable name.
    """
    from jsonargparse import ArgumentError, ArgumentParser  # not needed for the suites that most people use

    # A parser of its own, so that nothing of an earlier config's suite is mixed into this one.
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SuiteSource, "suite", required=True)
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    spec = {"class_path": class_path} | ({"init_args": dict(init_args)} if init_args else {})
    try:
        built = make(parser.parse_object({"suite": spec}))["suite"]
    except (ArgumentError, ValueError) as error:  # ValueError: what the class's own __init__ raised
        raise InputError(f"suite {class_path!r}: {_reason(str(error))}") from error
    assert isinstance(built, SuiteSource)
    name = getattr(built, "name", None)
    if not isinstance(name, str) or not name:
        raise InputError(f"suite {class_path!r}: its name is {name!r}, expected a text; set name in the class")
    if built.measures not in get_args(Measures):
        known = ", ".join(get_args(Measures))
        raise InputError(f"suite {class_path!r}: measures is {built.measures!r}, expected one of {known}")
    return built


def _reason(message: str) -> str:
    """The parser's complaint without the alternatives that it also tried."""
    text = " ".join(message.split())
    alternatives = re.search(r"Errors: - (.*?) - Expected a <class 'NoneType'>", text)
    return re.sub(r"^Problem with given class_path '[^']*': ", "", alternatives[1] if alternatives else text)


def class_path_of(source: SuiteSource) -> str:
    """Module and name of a suite's class."""
    return f"{type(source).__module__}.{type(source).__qualname__}"


def checked_prompts(source: SuiteSource, measures: Measures) -> list[Prompt]:
    """The prompts of a suite class.

    Raises:
        InputError: no sequence of ``Prompt``, an empty or unusable text, one that does not begin with its
            context, an id that stands twice, or no reference where helpfulness is measured.
    """
    where = f"suite {class_path_of(source)}"
    found = source.load()
    if not isinstance(found, Sequence) or not all(isinstance(prompt, Prompt) for prompt in found):
        raise InputError(f"{where}: load() gave {type(found).__name__}, expected a list of ptst_pl.suites.Prompt")
    for number, prompt in enumerate(found, 1):
        if not isinstance(prompt.text, str) or not prompt.text.strip():
            raise InputError(f"{where} row {number}: the prompt is empty or no text")
        if wrong := fault(f"{prompt.id}{prompt.text}{prompt.category}{prompt.reference or ''}"):
            raise InputError(f"{where} row {number}: the prompt holds {wrong}")
        if prompt.context and not prompt.goal and not prompt.text.startswith(prompt.context + CONTEXT_SEAM):
            raise InputError(f"{where} row {number}: text does not begin with context and {CONTEXT_SEAM!r}")
        if measures == "helpfulness" and prompt.reference is None:
            raise InputError(f"{where} row {number}: no reference, which helpfulness is measured against")
    check_ids(found, range(1, len(found) + 1), where)
    return list(found)
