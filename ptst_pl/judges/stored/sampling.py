"""Which answers a person should label: a stratified sample that favours disagreement and rare verdicts.

Strata are suite x template x what each judge says (all steps together). Every stratum gets one row,
then every stratum another, until the sample is full; where it is too small for that, strata on which
judges disagree come first, then small ones. So rates over a sheet are not rates over the answers: each
row's ``weight``, the number of answers that it stands for, corrects that. ``uniform_sample`` needs no
correction, but finds few rare answers.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptst_pl.judges.sheet import row_id
from ptst_pl.judges.stored.store import Key, key_of
from ptst_pl.results.records import COUNTED_FIELD, Generation, Verdict

_WORDS = {True: "yes", False: "no", None: "unscored"}


@dataclass(frozen=True)
class Stratum:
    """Answers of one suite under one template of which each judge says the same."""

    suite: str
    template: str
    measures: str
    says: tuple[tuple[str, str], ...]

    @property
    def disagreement(self) -> bool:
        """Whether two judges contradict each other; unscored contradicts nobody."""
        return {"yes", "no"} <= {word for _, word in self.says}

    def __str__(self) -> str:
        field = COUNTED_FIELD[self.measures]
        return f"{self.suite} | {self.template} | {field}: {', '.join(f'{j} {word}' for j, word in self.says)}"


@dataclass(frozen=True)
class Sampled:
    """One answer of the sample, and the number of answers of its stratum that it stands for."""

    generation: Generation
    stratum: Stratum
    weight: float


def strata(
    generations: Sequence[Generation], verdicts: Mapping[str, Mapping[Key, Verdict]]
) -> dict[Stratum, list[Generation]]:
    """The answers by stratum."""
    found: dict[Stratum, list[Generation]] = defaultdict(list)
    for generation in generations:
        key, field = key_of(generation), COUNTED_FIELD[generation.measures]
        says = tuple((judge, _WORDS[getattr(own[key], field)]) for judge, own in verdicts.items() if key in own)
        found[Stratum(generation.suite, generation.template, generation.measures, says)].append(generation)
    return dict(found)


def uniform_sample(groups: Mapping[Stratum, Sequence[Generation]], n: int, seed: int) -> list[Sampled]:
    """``n`` answers, each as likely as any other: rates over them are rates over all answers."""
    every = sorted(
        ((g, stratum) for stratum, members in groups.items() for g in members),
        key=lambda pair: _rank(seed, "order", pair[0]),
    )
    return [Sampled(g, stratum, len(every) / min(n, len(every))) for g, stratum in every[:n]]


def sample(groups: Mapping[Stratum, Sequence[Generation]], n: int, seed: int) -> list[Sampled]:
    """``n`` answers (all, where there are fewer), shuffled; the same on every machine, in any order of input."""
    shares = _shares(groups, n)
    chosen = []
    for stratum, members in groups.items():
        ranked = sorted(members, key=lambda g: _rank(seed, "choice", g))
        weight = len(members) / shares[stratum] if shares[stratum] else 0.0
        chosen += [Sampled(generation, stratum, weight) for generation in ranked[: shares[stratum]]]
    return sorted(chosen, key=lambda one: _rank(seed, "order", one.generation))


def _shares(groups: Mapping[Stratum, Sequence[Generation]], n: int) -> dict[Stratum, int]:
    order = sorted(groups, key=lambda s: (not s.disagreement, len(groups[s]), str(s)))
    shares = dict.fromkeys(order, 0)
    left = min(n, sum(map(len, groups.values())))
    while left:
        for stratum in order:
            if left and shares[stratum] < len(groups[stratum]):
                shares[stratum] += 1
                left -= 1
    return shares


def _rank(seed: int, purpose: str, generation: Generation) -> str:
    return hashlib.sha256(f"{seed} {purpose} {row_id(generation)}".encode()).hexdigest()
