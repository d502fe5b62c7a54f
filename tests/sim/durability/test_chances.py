"""Probabilities of rare events: exact to many digits however small."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from hippy.errors import UsageError
from hippy.sim.durability.chances import (
    binomial_tail,
    chance_within,
    event_interval,
    kept_percent,
    nines,
    poisson_head,
    poisson_tail,
)


@pytest.mark.parametrize(
    ("trials", "chance", "at_least"), [(20, 2**-14, 4), (24, 2**-20, 15), (80, 0.125, 52), (5, 0.5, 0)]
)
def test_a_binomial_tail_has_twelve_digits_also_at_1e_minus_70(trials: int, chance: float, at_least: int) -> None:
    p = Fraction(chance)
    exact = sum(math.comb(trials, i) * p**i * (1 - p) ** (trials - i) for i in range(at_least, trials + 1))
    assert binomial_tail(trials, chance, at_least) == pytest.approx(float(exact), rel=1e-12)


def test_what_is_certain_has_probability_one_and_what_is_impossible_none() -> None:
    assert binomial_tail(4, 1.0, 4) == 1
    assert binomial_tail(4, 1.0, 5) == 0
    assert binomial_tail(4, 0.0, 1) == 0
    assert poisson_tail(0.0, 0) == 0
    assert poisson_tail(3.0, -1) == pytest.approx(1, rel=1e-15)


def test_a_chance_above_one_is_refused() -> None:
    with pytest.raises(UsageError, match="no probability"):
        binomial_tail(4, 1.01, 2)


@pytest.mark.parametrize(("mean", "above"), [(0.8, 4), (8.0, 51), (0.001, 9), (40.0, 10)])
def test_a_poisson_tail_is_the_sum_of_its_terms(mean: float, above: int) -> None:
    terms = [Fraction(mean) ** i / math.factorial(i) for i in range(above + 1, above + 200)]
    expected = float(sum(terms)) * math.exp(-mean)
    assert poisson_tail(mean, above) == pytest.approx(expected, rel=1e-12)


def test_head_and_tail_of_a_poisson_variable_are_everything() -> None:
    assert poisson_head(7.5, 6) + poisson_tail(7.5, 6) == pytest.approx(1, rel=1e-15)


def test_what_is_kept_has_the_digits_that_a_float_near_one_has_not() -> None:
    assert str(kept_percent(1e-25)).startswith("99.99999999999999999999999")
    assert kept_percent(0.25) == Decimal(75)


def test_a_thousandth_leaves_three_nines() -> None:
    assert nines(0.001) == pytest.approx(3)
    assert nines(0.0) == math.inf
    assert nines(1.0) == 0


def test_a_rare_loss_within_a_time_is_the_time_by_the_mean() -> None:
    assert chance_within(1.0, 1e30) == pytest.approx(1e-30, rel=1e-12)
    assert chance_within(1.0, math.inf) == 0


def test_the_interval_of_no_event_is_the_rule_of_three() -> None:
    assert event_interval(0) == (0.0, 3.0)


@pytest.mark.parametrize(("events", "low", "high"), [(1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.6)])
def test_the_interval_of_some_events_is_in_the_tables(events: int, low: float, high: float) -> None:
    assert event_interval(events) == pytest.approx((low, high), rel=1e-3)
