"""The maths of agreement, against hand-computed and textbook figures."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ptst_pl.judges.stored.agreement import Counts, confusion, count, detection, kappa_interval
from ptst_pl.results.rates import Rate

labels = st.sampled_from([True, False, None])
rows = st.lists(st.tuples(st.sampled_from([("s", str(i)) for i in range(8)]), labels, labels), max_size=60)
examples = settings(max_examples=100, deadline=None)


def by_hand(pairs):
    """Kappa from its definition, in fractions."""
    scored = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not scored:
        return None
    n = len(scored)
    observed = Fraction(sum(a == b for a, b in scored), n)
    chance = sum(
        Fraction(sum(a == word for a, _ in scored), n) * Fraction(sum(b == word for _, b in scored), n)
        for word in (True, False)
    )
    return float((observed - chance) / (1 - chance)) if chance < 1 else None


def make(both, only_first, only_second, neither):
    pairs = [(True, True)] * both + [(True, False)] * only_first + [(False, True)] * only_second
    return [(("s", str(i)), a, b) for i, (a, b) in enumerate(pairs + [(False, False)] * neither)]


def test_a_worked_example():
    # 50 answers, 20 + 15 alike: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    counts = count(make(20, 5, 10, 15))
    assert counts.agreement == Rate(35, 50)
    assert counts.kappa == pytest.approx(0.4)


@examples
@given(rows=rows)
def test_kappa_is_its_definition(rows):
    expected = by_hand([row[1:] for row in rows])
    assert count(rows).kappa == (None if expected is None else pytest.approx(expected))


@examples
@given(rows=rows, seed=st.integers(0, 99))
def test_order_and_sides_do_not_matter(rows, seed):
    mixed = random.Random(seed).sample(rows, len(rows))
    swapped = [(group, b, a) for group, a, b in rows]
    assert count(mixed) == count(rows)
    assert count(swapped).kappa == count(rows).kappa
    table, other = confusion(rows), confusion(swapped)
    assert all(table[a, b] == other[b, a] for a, b in table)
    assert sum(table.values()) == len(rows)


@settings(max_examples=10, deadline=None)
@given(rows=rows, seed=st.integers(0, 99))
def test_the_interval_does_not_depend_on_order_or_sides(rows, seed):
    mixed = random.Random(seed).sample(rows, len(rows))
    assert kappa_interval(mixed) == kappa_interval(rows) == kappa_interval([(g, b, a) for g, a, b in rows])


@examples
@given(words=st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_judge_agrees_with_itself(words):
    counts = count([(("s", "1"), word, word) for word in words])
    assert counts.agreement.value == 1.0
    assert counts.kappa == (1.0 if len(set(words)) == 2 else None)


@examples
@given(rows=rows)
def test_kappa_lies_between_minus_one_and_one(rows):
    kappa = count(rows).kappa
    assume(kappa is not None)
    assert -1 <= kappa <= 1


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        (Counts(0, 0, 0, 0), None),
        (Counts(9, 0, 0, 0), None),
        (Counts(0, 0, 0, 9), None),
        (Counts(0, 9, 0, 0), 0.0),  # constant, but each in its own way: no better than chance
        (Counts(0, 5, 5, 0), -1.0),
    ],
)
def test_where_judges_are_constant(counts, kappa):
    assert counts.kappa == kappa


class TestInterval:
    def test_is_near_the_large_sample_formula(self):
        # Fleiss, Cohen and Everitt (1969), equation 14, worked by hand for this table.
        low, high = kappa_interval(make(80, 20, 30, 170))
        counts = count(make(80, 20, 30, 170))
        n, p1, p2, kappa = 300, 100 / 300, 110 / 300, counts.kappa
        chance = p1 * p2 + (1 - p1) * (1 - p2)
        diagonal = sum(
            share * (1 - (a + b) * (1 - kappa)) ** 2 for share, a, b in ((80 / n, p1, p2), (170 / n, 1 - p1, 1 - p2))
        )
        # A cell's pair of marginals is crossed: the second judge's of the row, the first judge's of the column.
        crossed = (1 - kappa) ** 2 * (20 / n * (p2 + (1 - p1)) ** 2 + 30 / n * ((1 - p2) + p1) ** 2)
        variance = (diagonal + crossed - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
        assert low == pytest.approx(kappa - 1.96 * variance**0.5, abs=0.02)
        assert high == pytest.approx(kappa + 1.96 * variance**0.5, abs=0.02)

    def test_is_wider_where_answers_belong_together(self):
        # The same counts, as 30 prompts asked ten times each with ten equal outcomes.
        single = make(80, 20, 30, 170)
        grouped = [(("s", str(i // 10)), a, b) for i, (_, a, b) in enumerate(single)]
        (low, high), (grouped_low, grouped_high) = kappa_interval(single), kappa_interval(grouped)
        assert grouped_high - grouped_low > 2 * (high - low)

    @pytest.mark.parametrize(
        "rows",
        [
            [],
            make(5, 0, 0, 5),  # no disagreement: every resample says 1
            make(9, 0, 0, 0),
            make(20, 10, 0, 0),  # the second judge varies, the first is constant: kappa is 0 in every resample
            [(("s", "1"), True, False), (("s", "1"), True, True), (("s", "1"), False, False)],  # one prompt
            make(0, 1, 0, 40),  # most resamples lack the one harmful answer
        ],
    )
    def test_is_missing_where_the_rows_cannot_tell(self, rows):
        assert kappa_interval(rows) is None

    def test_unscored_answers_change_nothing(self):
        more = [(("s", str(1000 + i)), None, True) for i in range(50)]
        assert kappa_interval([*make(80, 20, 30, 170), *more]) == kappa_interval(make(80, 20, 30, 170))


def test_detection():
    found = detection([*make(8, 2, 4, 6), (("s", "x"), None, True), (("s", "y"), True, None)])
    assert (found.precision, found.recall, found.accuracy) == (Rate(8, 10), Rate(8, 12), Rate(14, 20))
    assert found.unscored == 2


def test_detection_without_a_harmful_answer_has_no_precision_and_no_recall():
    found = detection(make(0, 0, 0, 9))
    assert (found.precision.value, found.recall.value, found.accuracy.value) == (None, None, 1.0)
