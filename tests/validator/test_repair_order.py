"""Expected hours to loss: what the repair queue is ordered by."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.validator.repair_order import SILENT_HOURS, expected_hours_to_loss

RATE = 1 / 4_096
"""Losses of a piece in an hour, exactly a binary fraction."""


def by_definition(answering: int, silent: int, k: int, rate: Fraction) -> Fraction:
    """The same process, one step at a time, in exact numbers."""
    silent_rate = max(rate, Fraction(1, int(SILENT_HOURS)))

    @cache
    def hours(alive: int, quiet: int) -> Fraction:
        if alive + quiet < k:
            return Fraction(0)
        per_hour = alive * rate + quiet * silent_rate
        ahead = Fraction(1)
        if alive:
            ahead += alive * rate * hours(alive - 1, quiet)
        if quiet:
            ahead += quiet * silent_rate * hours(alive, quiet - 1)
        return ahead / per_hour

    return hours(answering, silent)


@pytest.mark.parametrize(("healthy", "k"), [(18, 10), (10, 10), (24, 16), (4, 4), (1, 1), (255, 1)])
def test_without_silent_miners_it_is_the_sum_over_the_pieces_that_may_be_lost(healthy: int, k: int) -> None:
    expected = sum(1 / (i * RATE) for i in range(k, healthy + 1))
    assert expected_hours_to_loss(healthy, k, RATE) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("answering", "silent", "k"), [(10, 8, 10), (0, 18, 10), (17, 1, 10), (9, 1, 10), (3, 5, 4), (30, 0, 10)]
)
def test_with_silent_miners_it_is_the_mean_of_the_process_it_describes(answering: int, silent: int, k: int) -> None:
    expected = by_definition(answering, silent, k, Fraction(RATE))
    got = expected_hours_to_loss(answering + silent, k, RATE, at_risk=silent)
    assert got == pytest.approx(float(expected), rel=1e-12)


def test_a_segment_with_fewer_than_k_pieces_has_no_time() -> None:
    assert expected_hours_to_loss(9, 10, RATE) == 0
    assert expected_hours_to_loss(0, 1, RATE) == 0


def test_where_nothing_is_ever_lost_a_segment_has_for_ever() -> None:
    assert expected_hours_to_loss(18, 10, 0.0) == math.inf


def test_silent_miners_alone_do_not_end_a_segment_that_keeps_k_pieces() -> None:
    assert expected_hours_to_loss(18, 10, 0.0, at_risk=8) == math.inf


def test_silent_miners_end_a_segment_that_needs_one_of_them() -> None:
    # Nine answer and never leave, nine are silent: the last of these nine goes after 24 · (1 + 1/2 + … + 1/9) hours.
    expected = SILENT_HOURS * sum(1 / i for i in range(1, 10))
    assert expected_hours_to_loss(18, 10, 0.0, at_risk=9) == pytest.approx(expected, rel=1e-12)


def test_silent_miners_are_never_given_longer_than_those_that_answer() -> None:
    fast = 0.5  # twelve times as fast as silence ends
    assert expected_hours_to_loss(18, 10, fast, at_risk=5) == pytest.approx(expected_hours_to_loss(18, 10, fast))


@given(
    k=st.integers(1, 20),
    spare=st.integers(0, 20),
    silent=st.integers(0, 40),
    rate=st.floats(1e-9, 1e-2),
)
def test_a_silent_piece_is_never_worth_more_than_one_that_answers_or_less_than_none(
    k: int, spare: int, silent: int, rate: float
) -> None:
    healthy = k + spare
    silent = min(silent, healthy - 1)
    hours = expected_hours_to_loss(healthy, k, rate, at_risk=silent)
    assert expected_hours_to_loss(healthy, k, rate, at_risk=silent + 1) < hours
    assert expected_hours_to_loss(healthy + 1, k, rate, at_risk=silent + 1) >= hours * (1 - 1e-12)


def test_the_queue_begins_with_the_segment_that_has_more_silent_holders_among_equals() -> None:
    states = {"calm": (18, 2), "silent": (18, 6), "short": (12, 0), "hopeless": (9, 0)}  # healthy, of them silent
    order = sorted(states, key=lambda name: expected_hours_to_loss(states[name][0], 10, RATE, at_risk=states[name][1]))
    assert order == ["hopeless", "short", "silent", "calm"]
