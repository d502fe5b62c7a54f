"""Time to loss as a Markov chain, against the same chain solved in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from hippy.erasure.geometry import CAREFUL, COMPACT, LOCAL, PROFILES, STANDARD, Profile, profile_of
from hippy.errors import UsageError
from hippy.sim.durability.chain import Rates, fate_of

State = tuple[int, int]


def exits(profile: Profile, state: State, leave: Fraction, notice: Fraction, repair: Fraction) -> dict[State, Fraction]:
    """Where a state goes and how fast, as the module's docstring says it."""
    healthy, unseen = state
    found: dict[State, Fraction] = {(healthy - 1, unseen + 1): healthy * leave}
    if unseen:
        found[healthy, unseen - 1] = unseen * notice
    counted = healthy + unseen
    if counted <= profile.repair_threshold and counted < profile.n:
        found[profile.n - unseen, unseen] = repair
    return found


def mean_hours(profile: Profile, leave: Fraction, notice: Fraction, repair: Fraction) -> Fraction:
    """Solve the linear equations of the mean time to loss, by Gauss's elimination in fractions."""
    k, n = profile.k, profile.n
    states = [(h, u) for h in range(k, n + 1) for u in range(n - h + 1)]
    place = {state: at for at, state in enumerate(states)}
    rows = []
    for state in states:
        row = [Fraction(0)] * (len(states) + 1)
        for target, rate in exits(profile, state, leave, notice, repair).items():
            row[place[state]] += rate
            if target[0] >= k:
                row[place[target]] -= rate
        row[-1] = Fraction(1)
        rows.append(row)
    for at in range(len(states)):
        pivot = next(other for other in range(at, len(states)) if rows[other][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [each / rows[at][at] for each in rows[at]]
        for other in range(len(states)):
            if other != at and rows[other][at]:
                factor = rows[other][at]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[at], strict=True)]
    return rows[place[n, 0]][-1]


@pytest.mark.parametrize("code", [(1, 3), (2, 4), (2, 2), (3, 6), LOCAL])
@pytest.mark.parametrize("leave", [2**-6, 2**-12, 2**-30])
def test_the_mean_time_to_loss_is_that_of_exact_fractions(code: tuple[int, int] | Profile, leave: float) -> None:
    profile = code if isinstance(code, Profile) else profile_of(*code)
    exact = mean_hours(profile, Fraction(leave), Fraction(1, 32), Fraction(1, 16))
    found = fate_of(profile, Rates(leave, 32, 16))
    assert found.mean_hours == pytest.approx(float(exact), rel=1e-12)


def test_a_loss_of_1e_minus_30_keeps_its_digits() -> None:
    profile = profile_of(2, 5)
    leave = 2**-44
    exact = mean_hours(profile, Fraction(leave), Fraction(1, 32), Fraction(1, 16))
    found = fate_of(profile, Rates(leave, 32, 16)).annual_loss
    assert found < 1e-30
    assert found == pytest.approx(float(8_760 / exact), rel=1e-12)


def test_without_repair_a_segment_dies_as_its_pieces_do() -> None:
    leave = 1 / 1_000
    found = fate_of(Profile(10, 18, 10), Rates(leave, 0, 1e15))
    assert found.mean_hours == pytest.approx(sum(1 / (i * leave) for i in range(10, 19)), rel=1e-6)


def test_losses_that_are_noticed_at_once_are_worth_more_than_late_ones() -> None:
    losses = [fate_of(STANDARD, Rates(1e-4, hours, 24)).annual_loss for hours in (0, 1, 24, 72)]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1] / 10


def test_noticing_within_a_second_is_noticing_at_once() -> None:
    at_once, soon = (fate_of(LOCAL, Rates(1e-4, hours, 24)).mean_hours for hours in (0.0, 1 / 3_600))
    assert soon == pytest.approx(at_once, rel=1e-4)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
def test_more_churn_and_slower_repair_lose_more(profile: Profile) -> None:
    calm, wild = (fate_of(profile, Rates(churn / 24, 24, 24)).annual_loss for churn in (0.001, 0.01))
    slow = fate_of(profile, Rates(0.001 / 24, 24, 72)).annual_loss
    assert calm < wild
    assert calm < slow


def test_careful_outlives_standard_and_standard_compact() -> None:
    careful, standard, compact = (fate_of(each, Rates(1e-4, 24, 24)).nines for each in (CAREFUL, STANDARD, COMPACT))
    assert careful > standard > compact


def test_where_nobody_leaves_nothing_is_lost() -> None:
    fate = fate_of(STANDARD, Rates(0.0, 24, 24))
    assert fate.mean_hours == math.inf
    assert fate.annual_loss == 0
    assert fate.healthy[24] == 1


def test_a_segment_spends_all_its_life_with_some_number_of_healthy_pieces() -> None:
    healthy = fate_of(STANDARD, Rates(1e-4, 24, 24)).healthy
    assert sum(healthy) == pytest.approx(1, rel=1e-12)
    assert sum(healthy[:10]) == 0
    assert sum(healthy[18:]) > 0.9


def test_a_hidden_operator_takes_what_binomial_draws_take() -> None:
    fate = fate_of(Profile(1, 2, 1), Rates(1e-9, 24, 1e-3))  # both pieces are there but for a moment
    assert fate.lost_with_share(0.3) == pytest.approx(0.09, rel=1e-3)
    assert fate.lost_with_share(1.0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("departures", "detection", "repair"), [(-1, 24, 24), (1e-4, -1, 24), (1e-4, 24, 0), (math.inf, 1, 1)]
)
def test_rates_that_cannot_be_are_refused(departures: float, detection: float, repair: float) -> None:
    with pytest.raises(UsageError):
        Rates(departures, detection, repair)
