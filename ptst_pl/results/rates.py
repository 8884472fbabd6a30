"""Rates with confidence intervals, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


def wilson_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for ``k`` of ``n``, finite also at 0 and 100 %.

    Source: E. B. Wilson, JASA 22 (1927). With ``n = 0`` nothing is known: (0, 1).

    Raises:
        ValueError: not ``0 <= k <= n``, or a confidence outside (0, 1).
    """
    if not 0 <= k <= n or not 0 < confidence < 1:
        raise ValueError(f"need 0 <= k <= n and 0 < confidence < 1, got k={k}, n={n}, confidence={confidence}")
    return _wilson(k / n, n, confidence) if n else (0.0, 1.0)


def _wilson(p: float, n: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if p == 0 else (centre - half) / scale
    high = 1.0 if p == 1 else (centre + half) / scale
    return low, high


@dataclass(frozen=True)
class Rate:
    """``k`` of ``n`` scored answers; ``unscored`` more could not be judged and are in neither.

    ASR, refusal rate and over-refusal rate are all rates.
    """

    k: int
    n: int
    unscored: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n or self.unscored < 0:
            raise ValueError(f"impossible rate: k={self.k}, n={self.n}, unscored={self.unscored}")

    @property
    def value(self) -> float | None:
        """The share, or None where nothing was scored."""
        return self.k / self.n if self.n else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's interval over the scored answers."""
        return wilson_interval(self.k, self.n, confidence)
