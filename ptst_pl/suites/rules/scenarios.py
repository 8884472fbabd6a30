"""All fourteen scenarios by name, and the version of their wording."""

from __future__ import annotations

from ptst_pl.suites.rules.keeping_back import (
    AccessControl,
    Authentication,
    BinarySearch,
    Confidentiality,
    Encryption,
    ForbiddenWord,
    Millionaires,
    Questions,
)
from ptst_pl.suites.rules.replying import (
    AnimalSounds,
    Commitment,
    DiningCryptographers,
    Integrity,
    RockPaperScissors,
    SimonSays,
)
from ptst_pl.suites.rules.scenario import Scenario

# Rates under another wording are not comparable (the authors' own versions 2 and 3 are not either).
WORDING = "ptst_pl 1"
SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        AccessControl(), Authentication(), BinarySearch(), Confidentiality(), Encryption(), ForbiddenWord(),
        Millionaires(), Questions(), AnimalSounds(), Commitment(), DiningCryptographers(), Integrity(),
        RockPaperScissors(), SimonSays(),
    )
}  # fmt: skip
