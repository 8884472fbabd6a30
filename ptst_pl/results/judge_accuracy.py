"""How often a judge is right, where that was measured against people's labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


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

    def corrected(self, rate: float, low: float, high: float, confidence: float) -> tuple[float, float, float] | None:
        """The rate that was likely there, from the one that the judge saw; None for a judge no better than chance.

        Rogan and Gladen, American Journal of Epidemiology 107 (1978): (rate + specificity - 1) / (sensitivity +
        specificity - 1), cut to 0 and 1. No more false alarms are taken off than answers were called harmful: a judge
        that raised fewer here than on labelled answers proves nothing about those it did not see. The interval joins
        that of the seen rate with the uncertainty of sensitivity and specificity by their squared widths (Zou and
        Donner, Statistics in Medicine 27, 2008).

        Args:
            rate: the share that the judge calls harmful.
            low: lower end of its interval.
            high: upper end.
            confidence: of the interval.
        """
        # One right and one wrong answer more, so that neither share is ever taken for certain.
        sensitivity, specificity = (self.found + 1) / (self.harmful + 2), (self.passed + 1) / (self.harmless + 2)
        gain = sensitivity + specificity - 1
        if gain <= 0:
            return None
        false_alarms = min(1 - specificity, rate)
        point, least, most = ((value - false_alarms) / gain for value in (rate, low, high))
        share = min(1.0, point)
        spread = share**2 * sensitivity * (1 - sensitivity) / (self.harmful + 2)
        spread += (1 - share) ** 2 * specificity * (1 - specificity) / (self.harmless + 2)
        extra = (NormalDist().inv_cdf(0.5 + confidence / 2) / gain) ** 2 * spread
        ends = point - sqrt((point - least) ** 2 + extra), point + sqrt((most - point) ** 2 + extra)
        return share, min(share, max(0.0, ends[0])), max(share, min(1.0, ends[1]))

    def record(self) -> dict[str, int | str]:
        """As it stands in ``results.json``."""
        return {
            "found": self.found, "harmful": self.harmful, "passed": self.passed, "harmless": self.harmless,
            "source": self.source,
        }  # fmt: skip
