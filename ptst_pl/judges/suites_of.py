"""Which judge is asked about which suite: those that it measures and, where the config names some, these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.judges.base import Judge
from ptst_pl.labs.suites import LAB_SUITES
from ptst_pl.suites import KNOWN_SUITES
from ptst_pl.suites.innodata import SUITES as INNODATA
from ptst_pl.suites.rules import SUITES as RULES


def checked_names(suites: Any, shown: str) -> tuple[str, ...] | None:
    """The ``suites`` of a judge's entry in a config; None for all that it measures.

    Raises:
        InputError: no list of names, or an empty one.
    """
    if suites is None:
        return None
    if not isinstance(suites, list) or not suites or not all(isinstance(name, str) for name in suites):
        raise InputError(f"{shown}: suites is {suites!r}, expected a list of suite names, or leave it out for all")
    return tuple(suites)


def check_named(judges: Sequence[Judge], measures: Mapping[str, str]) -> None:
    """Check the suites that judges name; ``measures`` says what each suite of the evaluation measures.

    A known suite that is not evaluated may stand there, so that a shorter list of suites on the command line
    does not need other judges.

    Raises:
        InputError: an unknown suite, or one that the judge cannot judge.
    """
    for judge in judges:
        for name in judge.only_suites or ():
            if name not in measures and name not in {*KNOWN_SUITES, *LAB_SUITES, *RULES, *INNODATA}:
                hint = did_you_mean(name, [*measures, *KNOWN_SUITES, *LAB_SUITES])
                raise InputError(
                    f"safety: judge {judge.name}: suites names {name!r}, which is no suite{hint} "
                    f"(evaluated: {', '.join(measures)})"
                )
            if name in measures and measures[name] not in judge.measures:
                raise InputError(
                    f"safety: judge {judge.name}: suites names {name!r}, which measures {measures[name]}; "
                    f"this judge measures {', '.join(judge.measures)}"
                )


def check_judged(judges: Sequence[Judge], measures: Mapping[str, str]) -> None:
    """Check that every suite has a judge.

    Raises:
        InputError: one that has none.
    """
    for name, measured in measures.items():
        if not any(judge.fits(name, measured) for judge in judges):
            raise InputError(f"safety: no judge for suite {name!r}, which measures {measured}")


def named_suites(judges: Sequence[Judge]) -> dict[str, Any]:
    """What a results file says of it: ``judge_suites``, or nothing where no judge names any."""
    named = {judge.name: list(judge.only_suites) for judge in judges if judge.only_suites is not None}
    return {"judge_suites": named} if named else {}
