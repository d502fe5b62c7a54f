"""A simulated year: it agrees with the chain where the chain holds, and shows what the chain cannot."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from hippy.erasure.geometry import COMPACT, LOCAL, STANDARD
from hippy.errors import UsageError
from hippy.sim.durability.chain import Rates, fate_of
from hippy.sim.durability.churn import Churn, steady
from hippy.sim.durability.report import summary_of
from hippy.sim.durability.settings import Settings, Vanish, assumptions
from hippy.sim.durability.simulation import Run, simulate

CALM = Settings(
    profile=LOCAL,
    churn=steady(0.0, "nobody leaves"),
    miners=60,
    segments=200,
    days=20,
    stored_tb=1.0,
    outages_per_month=0.0,
    vanish=Vanish.NONE,
)


def test_where_nobody_leaves_nothing_happens() -> None:
    run = simulate(CALM)
    assert (run.segments_lost, run.repairs, run.departures, run.healthy_min) == (0, 0, 0, 8)
    assert run.health == [[0] * 8 + [200]] * 21


def test_health_is_distributed_as_the_chain_says() -> None:
    """Unseen losses are as many however long each of them stays unseen: the means are what counts."""
    settings = replace(CALM, churn=steady(0.05, "wild"), segments=600, days=60, miners=200, repair_mbit=1e6)
    run = simulate(settings)
    days = run.health[20:]
    chain = fate_of(LOCAL, Rates(0.05 / 24, 24, 1e-3)).healthy
    for healthy in range(5, 9):
        share = sum(day[healthy] for day in days) / len(days) / settings.segments
        assert share == pytest.approx(chain[healthy], abs=0.03)


def test_losses_are_as_many_as_the_chain_says() -> None:
    settings = replace(CALM, churn=steady(0.07, "wild"), segments=800, days=50, miners=300, repair_mbit=1e6)
    run = simulate(settings)
    mean_hours = fate_of(LOCAL, Rates(0.07 / 24, 24, 1e-3)).mean_hours
    expected = settings.segments * -math.expm1(-settings.hours / mean_hours)
    assert expected > 40
    assert run.segments_lost == pytest.approx(expected, rel=0.5)  # one miner's leaving is a loss to many segments


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    settings = replace(CALM, churn=steady(0.02, "some"), outages_per_month=4.0, vanish=Vanish.SYBIL)
    one, two, other = (simulate(replace(settings, seed=seed)) for seed in (4, 4, 5))
    assert one == two
    assert one.health != other.health


def vanished(vanish: Vanish, share: float = 0.3) -> Run:
    """Half a network's day 10: somebody vanishes and nobody else ever leaves."""
    return simulate(replace(CALM, profile=COMPACT, miners=300, vanish=vanish, largest_share=share))


def test_an_operator_that_placement_knows_takes_one_piece_of_a_segment_at_most() -> None:
    for vanish in (Vanish.OPERATOR, Vanish.GROUP):
        run = vanished(vanish)
        assert len(run.population.vanishing) > 1
        assert run.healthy_min == COMPACT.n - 1
        assert run.segments_lost == 0


def test_a_sybil_takes_as_many_segments_as_a_binomial_draw_says() -> None:
    """It holds more pieces than its share of capacity: the rules of placement exclude others and never itself."""
    run = vanished(Vanish.SYBIL)
    left = sum(healthy * segments for healthy, segments in enumerate(run.health[11]))
    share = 1 - left / (COMPACT.n * 200)
    assert 0.3 < share < 0.4
    chain = fate_of(COMPACT, Rates(0.0, 24, 24))  # all pieces are healthy until then
    assert run.lost_at_vanishing == run.segments_lost
    assert run.lost_at_vanishing == pytest.approx(200 * chain.lost_with_share(share), rel=0.25)


def test_everything_that_survives_a_vanishing_is_repaired() -> None:
    run = vanished(Vanish.SYBIL, share=0.15)
    alive = 200 - run.segments_lost
    assert sum(run.health[-1][COMPACT.repair_threshold + 1 :]) == alive
    assert run.queued[-1] == 0
    assert run.repairs > 0


def test_with_too_little_bandwidth_the_backlog_grows() -> None:
    plenty = replace(CALM, churn=steady(0.03, "wild"), days=40)
    starved = replace(plenty, repair_mbit=0.05, stored_tb=100.0)
    rich, poor = simulate(plenty), simulate(starved)
    assert max(rich.queued) < 40 < poor.queued[-1]
    assert poor.pieces_rebuilt < rich.pieces_rebuilt
    assert poor.backlog_bytes[-1] > poor.backlog_bytes[20] > 0
    assert sum(poor.health[-1][:7]) > sum(rich.health[-1][:7])


def test_repair_moves_k_pieces_and_a_mask_for_every_lost_one() -> None:
    run = simulate(replace(CALM, churn=steady(0.03, "wild"), days=40))
    piece_bytes = 1e12 / CALM.segments / LOCAL.k
    assert run.traffic_bytes == pytest.approx(run.pieces_rebuilt * 5 * piece_bytes)
    assert summary_of(run).traffic_per_month == pytest.approx(run.traffic_bytes / 1e12 / (40 / (365 / 12)))


def test_short_outages_lose_nothing_and_long_ones_lose_the_pieces() -> None:
    short = simulate(replace(CALM, outages_per_month=20.0, outage_hours=0.5))
    assert (short.segments_lost, short.repairs) == (0, 0)
    long = simulate(replace(CALM, outages_per_month=2.0, outage_hours=100.0))
    assert long.departures == 0
    assert long.repairs > 0


def test_observed_days_are_replayed_as_days() -> None:
    bad_days = Churn(0.02, (0.0,) * 9 + (0.2,), "one day in ten is bad")
    run = simulate(replace(CALM, churn=bad_days, miners=200, days=60))
    even = simulate(replace(CALM, churn=steady(0.02, "even"), miners=200, days=60))
    assert run.departures == pytest.approx(even.departures, rel=0.5)
    worst, worst_even = (
        max(after - before for before, after in pairwise(each.rebuilt_bytes)) / each.traffic_bytes
        for each in (run, even)
    )
    assert worst > 2 * worst_even


def test_progress_is_told_day_by_day() -> None:
    told: list[tuple[int, int]] = []
    simulate(replace(CALM, days=3), lambda done, days: told.append((done, days)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_interval_of_a_run_without_loss_is_the_rule_of_three() -> None:
    summary = summary_of(simulate(CALM))
    assert summary.nines_low == pytest.approx(-math.log10(3 / summary.segment_years))
    assert summary.nines_high == math.inf


def test_percentiles_are_of_segments() -> None:
    run = simulate(replace(CALM, days=1))
    run.health = [[0, 0, 0, 0, 1, 1, 18, 80, 100]]
    assert summary_of(run).percentiles == {"worst": [4], "hundredth": [5], "tenth": [6], "median": [7]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"miners": 0},
        {"segments": 0},
        {"segments": 10_000_000},
        {"days": 0},
        {"largest_share": 1.0},
        {"stored_tb": 0.0},
        {"repair_mbit": math.inf},
        {"detection_hours": 0.0},
        {"outages_per_month": -1.0},
    ],
)
def test_a_run_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)


def test_every_assumption_has_a_value_and_a_source() -> None:
    for what, value, source in assumptions(Settings(profile=STANDARD)):
        assert what
        assert value
        assert source
