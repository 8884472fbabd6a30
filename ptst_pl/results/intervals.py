"""Intervals for mean rates over runs and for differences of rates; one home for all tables, sentences and gates.

A side is a mean rate over runs (seeds), each run over n prompts. Its interval joins Wilson's half-widths at the mean
with the variance of the mean over runs, and the difference of two sides gets Newcombe's interval from both (Statistics
in Medicine 17, 1998, method 10), which is finite at 0 and 100 %:

    low  = p - sqrt((p - l)^2 + q^2 s^2 / m), and high likewise;
    low  = d - sqrt((p1 - l1)^2 + (u2 - p2)^2 + q^2 (s1^2 / m1 + s2^2 / m2)), and high likewise.

q is the quantile of Student's t with Welch and Satterthwaite's degrees of freedom, in which the share of the
prompts counts as known exactly (all of q's uncertainty comes from the few runs); without deviations it is the
normal quantile. The p value is that of the widest interval that leaves 0 out. Runs answer the same prompts, so a
side counts n prompts however many runs it has. Both sides of a difference may have answered the same prompts, pair by
pair, which is not used. Both make intervals and tests cautious.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, inf, sqrt
from statistics import NormalDist, variance


@dataclass(frozen=True)
class Side:
    """A mean rate over ``runs`` runs of ``n`` prompts each.

    ``variance`` is the sample variance of the rate over runs, None where it is not known.
    """

    mean: float
    n: int
    runs: int = 1
    variance: float | None = None


@dataclass(frozen=True)
class Difference:
    """First minus second, with its interval and two-sided p value."""

    value: float
    low: float
    high: float
    p_value: float


def compare(first: Side, second: Side, confidence: float = 0.95, slack: float = 0.0) -> Difference:
    """The difference of two mean rates; see the module for the test.

    Where one side's variance over runs is not known (a single run), the other's is taken for it.

    Args:
        first: one side.
        second: the other.
        confidence: of the interval.
        slack: how far a value read off a plot may be wrong; widens the interval to both sides.

    Raises:
        ValueError: no prompts, or a rate outside 0 to 1.
    """
    for side in (first, second):
        if side.n < 1 or not 0 <= side.mean <= 1:
            raise ValueError(f"need n above 0 and a rate from 0 to 1, got {side}")
    spread, freedom = _spread(first, second)
    low, high = _interval(first, second, _quantile(confidence, freedom), spread, slack)
    return Difference(first.mean - second.mean, low, high, _p_value(first, second, spread, freedom, slack))


def mean_interval(counts: Sequence[tuple[int, int]], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean rate over runs of one configuration (seeds), with an interval over prompts and runs.

    With one run it is Wilson's over the prompts alone, and says nothing of another run.

    Args:
        counts: (k, n) per run, n above 0.
        confidence: of the interval.

    Returns:
        Mean, low, high.

    Raises:
        ValueError: no run, or a run without a scored answer.
    """
    side = side_of(counts)
    spread, freedom = _spread(side)
    return side.mean, *_one_sided(side, _quantile(confidence, freedom), spread)


def side_of(counts: Sequence[tuple[int, int]]) -> Side:
    """The runs of one cell, from (k, n) per run.

    Raises:
        ValueError: no run, or a run without a scored answer.
    """
    if not counts or any(n < 1 for _, n in counts):
        raise ValueError(f"need at least one run with scored answers, got {list(counts)}")
    shares = [k / n for k, n in counts]
    spread = variance(shares) if len(shares) > 1 else None
    return Side(sum(shares) / len(shares), min(n for _, n in counts), len(shares), spread)


def _one_sided(side: Side, q: float, spread: float) -> tuple[float, float]:
    low, high = _wilson(side, q)
    down, up = (sqrt((side.mean - end) ** 2 + q * q * spread) for end in (low, high))
    return max(0.0, side.mean - down), min(1.0, side.mean + up)


def _quantile(confidence: float, freedom: float) -> float:
    if freedom == inf:
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    from scipy.stats import t  # takes a second, and only several runs need it

    return float(t.ppf(0.5 + confidence / 2, freedom))


def _tail(quantile: float, freedom: float) -> float:
    if freedom == inf:
        return erfc(quantile / sqrt(2)) / 2
    from scipy.stats import t

    return float(t.sf(quantile, freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Scandinavian Journal of Statistics 6, 1979), in the order given."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _spread(*sides: Side) -> tuple[float, float]:
    """Variance of a mean or a difference that comes from the runs, and the degrees of freedom of the whole."""
    known = [side for side in sides if side.variance is not None and side.runs > 1]
    if not known:
        return 0.0, inf
    parts, below = [], 0.0
    for side in sides:
        source = side if side in known else known[0]
        part = (source.variance or 0.0) / side.runs
        parts.append(part)
        below += part**2 / (source.runs - 1)
    if not below:
        return 0.0, inf
    return sum(parts), (sum(parts) + sum(map(_prompt_variance, sides))) ** 2 / below


def _prompt_variance(side: Side) -> float:
    """Of a rate over n prompts, with one success and one failure added so that it is never 0."""
    share = (side.mean * side.n + 1) / (side.n + 2)
    return share * (1 - share) / side.n


def _interval(first: Side, second: Side, q: float, spread: float, slack: float) -> tuple[float, float]:
    (low1, high1), (low2, high2) = _wilson(first, q), _wilson(second, q)
    value, runs = first.mean - second.mean, q * q * spread
    down = sqrt((first.mean - low1) ** 2 + (high2 - second.mean) ** 2 + runs)
    up = sqrt((high1 - first.mean) ** 2 + (second.mean - low2) ** 2 + runs)
    return max(-1.0, value - down - slack), min(1.0, value + up + slack)


def _wilson(side: Side, q: float) -> tuple[float, float]:
    p, n = side.mean, side.n
    centre, scale = p + q * q / (2 * n), 1 + q * q / n
    half = q * sqrt(p * (1 - p) / n + q * q / (4 * n * n))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _p_value(first: Side, second: Side, spread: float, freedom: float, slack: float) -> float:
    """By bisection for the quantile at which the interval just reaches 0."""
    near, far = 0.0, 200.0
    for _ in range(60):
        middle = (near + far) / 2
        low, high = _interval(first, second, middle, spread, slack)
        near, far = (near, middle) if low <= 0 <= high else (middle, far)
    return min(1.0, 2 * _tail(far, freedom))


def paired_interval(more: int, fewer: int, n: int, confidence: float) -> tuple[float, float]:
    """Tango's score interval for the difference of two rates on the same prompts.

    Source: T. Tango, Statistics in Medicine 17 (1998), 891-908. Unlike a bootstrap it has a width where hardly any
    prompt changed sides, and its upper end rises with every further prompt.

    Args:
        more: prompts with the outcome in the first evaluation only.
        fewer: prompts with it in the second only.
        n: all prompts.
        confidence: two-sided.

    Returns:
        The ends of the interval for first rate minus second rate.

    Raises:
        ValueError: more changes than prompts.
    """
    if n < 1 or min(more, fewer) < 0 or more + fewer > n:
        raise ValueError(f"need n > 0 and at most n changes, got more={more}, fewer={fewer}, n={n}")
    z, value = _quantile(confidence, inf), (more - fewer) / n
    high = _crossing(lambda d: _score(more, fewer, n, d) + z, value, 1.0)
    low = _crossing(lambda d: z - _score(more, fewer, n, d), value, -1.0)
    return low, high


def _score(more: int, fewer: int, n: int, difference: float) -> float:
    """Tango's statistic for one difference; falls as the difference grows."""
    linear = (2 * n - more + fewer) * difference - more - fewer
    constant = -fewer * difference * (1 - difference)
    share = (sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    distance = more - fewer - n * difference
    return distance / sqrt(variance) if variance > 0 else 0.0


def _crossing(positive: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a function of the difference, positive at ``inside``, changes its sign; ``outside`` where it does not."""
    if abs(outside - inside) < 1e-12:
        return outside
    near, far = inside, outside
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (middle, far) if positive(middle) >= 0 else (near, middle)
    return far
