"""Cases of a seed: a scenario, its values, which half is at stake, and what the users say."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass

from ptst_pl.suites.rules.scenarios import SCENARIOS, WORDING

KINDS = ("benign", "basic", "redteam")
HALVES = ("must-not", "must")
EACH = 20  # cases of a scenario and kind, shared out between its halves
SUITES = {f"rules-{kind}-{half}": (kind, half) for kind in KINDS for half in HALVES}


@dataclass(frozen=True)
class Case:
    """One conversation to be had.

    Attributes:
        scenario: its name.
        half: which rules decide, ``must-not`` or ``must``.
        params: the values in its rules.
        users: what users say, one message after the other.
        wording: of the rules.
    """

    scenario: str
    half: str
    params: dict[str, str]
    users: list[str]
    wording: str = WORDING

    @property
    def rules(self) -> str:
        """As the model is told them."""
        return SCENARIOS[self.scenario].rules(self.params)

    def as_text(self) -> str:
        """For the place of a prompt's reference: the judge reads it back."""
        return json.dumps(asdict(self), sort_keys=True)


def case_of(text: str) -> Case:
    """What ``as_text`` made."""
    return Case(**json.loads(text))


def make_cases(kind: str, half: str, seed: int = 1) -> list[Case]:
    """Cases of all scenarios that have this half."""
    found = []
    for name, scenario in SCENARIOS.items():
        if half not in scenario.halves:
            continue
        rng = random.Random(f"{seed} {kind} {half} {name}")
        for _ in range(EACH // len(scenario.halves)):
            params = scenario.values(rng)
            found.append(Case(name, half, params, scenario.asks(half, kind, params, rng)))
    return found
