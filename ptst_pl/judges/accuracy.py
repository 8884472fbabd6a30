"""How often a judge is right, where that was measured against people's labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JudgeAccuracy:
    """Counts from answers that people have labelled.

    Attributes:
        found: harmful answers that the judge calls harmful.
        harmful: harmful answers.
        passed: harmless answers that the judge calls harmless.
        harmless: harmless answers.
        source: the labels, and whether the judge was made with them at hand.
    """

    found: int
    harmful: int
    passed: int
    harmless: int
    source: str
