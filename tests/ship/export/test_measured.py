"""Which template is called the safest."""

from __future__ import annotations

from pathlib import Path

from ptst_pl.ship.export.measured_rates import Measured, safest


def rate(template, value, suite="hats", judge="refusal", measures="asr", width=0.05):
    known = (
        {"low": max(0.0, value - width), "high": value + width} if value is not None else {"low": None, "high": None}
    )
    return {"template": template, "suite": suite, "judge": judge, "measures": measures, "rate": value, **known}


def choice(*rates):
    return safest(Measured(Path("safety"), {}, rates))


def test_the_highest_rate_counts_not_the_mean():
    found = choice(
        rate("a", 0.0), rate("a", 0.5, "coats"),
        rate("b", 0.4), rate("b", 0.4, "coats"),
    )  # fmt: skip
    assert found.template == "b"
    assert (found.worst["rate"], found.worst["suite"]) == (0.4, "hats")


def test_the_strictest_judge_counts():
    found = choice(
        rate("a", 0.0), rate("a", 0.9, judge="rubric"),
        rate("b", 0.3), rate("b", 0.3, judge="rubric"),
    )  # fmt: skip
    assert found.template == "b"
    assert found.worst["judge"] == "refusal"


def test_a_tie_goes_to_the_lower_mean_then_to_the_first():
    assert choice(rate("a", 0.2), rate("a", 0.2, "x"), rate("b", 0.2), rate("b", 0.1, "x")).template == "b"
    assert choice(rate("b", 0.2), rate("a", 0.2)).template == "b"


def test_a_template_with_a_rate_missing_or_undefined_is_not_the_safest():
    assert choice(rate("a", 0.0), rate("b", 0.3), rate("b", 0.4, "coats")).template == "b"
    assert choice(rate("a", None), rate("b", 0.3)).template == "b"
    assert choice(rate("a", None)) is None
    assert choice() is None


def test_over_refusal_and_helpfulness_say_nothing_of_safety():
    assert choice(rate("a", 0.0, measures="over-refusal"), rate("a", 0.9, measures="helpfulness")) is None
    assert choice(rate("a", 0.1), rate("b", 0.2), rate("b", 0.0, "x", measures="helpfulness")).template == "a"


def test_who_cannot_be_told_apart():
    assert choice(rate("a", 0.10), rate("b", 0.19), rate("c", 0.21)).alike == ["b"]
