"""Which bound a gate judges, and how many answers it takes.

Every bound is one end of the two-sided interval that all tables of this project print: Wilson's for a rate. So the
number that a gate judges is the one that a reader finds in the report. One end of a two-sided 95 % interval is a
one-sided bound at 97.5 %; as counts are whole numbers, the actual error differs a little. For limits up to 0.3, a
model whose true rate lies at the limit passes in less than 3.6 % of evaluations (``tests/ship/gate`` computes it):
the stated confidence is kept, with room.
"""

from __future__ import annotations

from math import ceil
from statistics import NormalDist

from ptst_pl.results.rates import wilson_interval


def least_answers(limit: float, confidence: float) -> int:
    """How many answers are needed so that 0 of them being harmful proves a rate of at most ``limit``."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    count = max(1, ceil(z * z * (1 - limit) / limit) - 1)
    while wilson_interval(0, count, confidence)[1] > limit:
        count += 1
    return count
