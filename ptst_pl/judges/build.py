"""Judges from a config: a known name, or a class path with its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from ptst_pl import InputError, did_you_mean
from ptst_pl.judges.base import Judge
from ptst_pl.judges.suites_of import checked_names

KNOWN_JUDGES: dict[str, dict[str, Any]] = {
    "refusal": {"class_path": "ptst_pl.judges.RefusalJudge"},
    "refusal-anywhere": {"class_path": "ptst_pl.judges.RefusalJudge", "init_args": {"mode": "anywhere"}},
    "exact": {"class_path": "ptst_pl.judges.ExactJudge"},
    "exact-words": {"class_path": "ptst_pl.judges.ExactWords"},
    "exact-match": {"class_path": "ptst_pl.judges.ExactMatch"},
    "last-number": {"class_path": "ptst_pl.judges.LastNumber"},
    "last-number-signed": {"class_path": "ptst_pl.judges.LastNumber", "init_args": {"rule": "signed"}},
    "arc": {"class_path": "ptst_pl.judges.ArcJudge"},
    "arc-paper": {"class_path": "ptst_pl.judges.ArcJudge", "init_args": {"rule": "paper"}},
    "rouge": {"class_path": "ptst_pl.judges.RougeJudge"},
    "bertscore": {"class_path": "ptst_pl.judges.BertScoreJudge"},
    "keywords-gcg": {"class_path": "ptst_pl.judges.KeywordJudge", "init_args": {"keywords": "gcg"}},
    "keywords-qi": {"class_path": "ptst_pl.judges.KeywordJudge", "init_args": {"keywords": "qi"}},
    "innodata": {"class_path": "ptst_pl.judges.InnodataJudge"},
    "rules": {"class_path": "ptst_pl.judges.RulesJudge"},
    "rubric": {"class_path": "ptst_pl.judges.RubricJudge"},
    "panel": {"class_path": "ptst_pl.judges.PanelJudge"},
    "human": {"class_path": "ptst_pl.judges.HumanJudge"},
    "llama-guard-3": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "llama-guard-3"}},
    "llama-guard-3-1b": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "llama-guard-3-1b"}},
    "harmbench-llama2": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "harmbench-llama2"}},
    "harmbench-mistral": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "harmbench-mistral"}},
    "strongreject": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "strongreject"}},
    "beaver-dam": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "beaver-dam"}},
    "judgezoo": {"class_path": "ptst_pl.judges.JudgeZooJudge"},
    "wildguard": {"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": {"preset": "wildguard"}},
}

_KEYS = ("name", "class_path", "init_args", "suites")


def build_judge(spec: str | Mapping[str, Any] | Judge) -> Judge:
    """The judge that a config names.

    Args:
        spec: a known name; or a mapping with ``class_path`` or a known ``name``, with ``init_args`` (which may stand
            beside a name) and with the ``suites`` that it is to judge; or a judge as it is.

    Raises:
        InputError: an unknown name, class or key, arguments that the class does not take, or no list of suites.
    """
    if isinstance(spec, Judge):
        return spec
    if isinstance(spec, str):
        return _make(_known(spec))
    shown = f"judge {spec.get('name', spec.get('class_path'))!r}"
    known = (*_KEYS, *_arguments(spec))
    if unknown := [key for key in spec if key not in known]:
        raise InputError(f"{shown}: unknown key {unknown[0]!r}{did_you_mean(str(unknown[0]), known)}")
    if ("name" in spec) == ("class_path" in spec):
        raise InputError(f"{shown}: expected either the name of a known judge or a class_path, found {dict(spec)}")
    suites = checked_names(spec.get("suites"), shown)
    judge = _make({key: value for key, value in spec.items() if key in ("class_path", "init_args")} | _named(spec))
    if suites is not None:
        judge.only_suites = suites
    return judge


def _named(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Class and arguments of a known judge; the arguments of the entry itself win."""
    if "name" not in spec:
        return {}
    known = _known(spec["name"])
    beside = {key: value for key, value in spec.items() if key not in _KEYS}
    return known | {"init_args": known.get("init_args", {}) | beside | (spec.get("init_args") or {})}


def _arguments(spec: Mapping[str, Any]) -> list[str]:
    """The arguments of a known judge, which may stand beside its name."""
    if "name" not in spec:
        return []
    import ptst_pl.judges

    kind = getattr(ptst_pl.judges, _known(spec["name"])["class_path"].rpartition(".")[2])
    return [name for name in inspect.signature(kind).parameters if name not in _KEYS]


def _known(name: Any) -> dict[str, Any]:
    if not isinstance(name, str) or name not in KNOWN_JUDGES:
        known = ", ".join(KNOWN_JUDGES)
        raise InputError(
            f"unknown judge {name!r}{did_you_mean(str(name), KNOWN_JUDGES)} (known: {known}, or a class_path)"
        )
    return KNOWN_JUDGES[name]


def _make(spec: Mapping[str, Any]) -> Judge:
    """The judge of a class path."""
    # A parser of its own, so that nothing of an earlier config's judge is mixed into this one.
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Judge, "judge", required=True)
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    try:
        built = make(parser.parse_object({"judge": dict(spec)}))["judge"]
    except (ArgumentError, ValueError) as error:
        if own := _own_error(error):
            raise own from None
        if not isinstance(error, ArgumentError):
            raise
        raise InputError(f"judge {spec.get('class_path')!r}: {_reason(str(error))}") from error
    assert isinstance(built, Judge)
    return built


def _reason(message: str) -> str:
    """The parser's complaint, without the alternatives that it also tried."""
    text = " ".join(message.split()).removeprefix('Parser key "judge": ')
    tried = re.search(r"Errors: - (.*?) - Expected a <class 'NoneType'>", text)
    return re.sub(r"^Problem with given class_path '[^']*': ", "", tried[1] if tried else text)


def _own_error(error: BaseException | None) -> InputError | None:
    """The line that a judge's constructor raised, out of what the parser wraps around it."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error
