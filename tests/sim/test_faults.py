"""Outages: how long, how often."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from hippy.sim.faults import Outages, draw_outages


def test_an_outage_begins_and_ends() -> None:
    outages = Outages([100.0, 500.0], 50.0)
    assert [outages.is_up(now) for now in (0, 99.9, 100, 149.9, 150, 499, 520, 550)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_outages_take_the_share_of_time_that_was_asked_for() -> None:
    outages = draw_outages(random.Random(2), share=0.02, length_seconds=180, until_seconds=10_000_000)
    assert fmean(not outages.is_up(now) for now in range(0, 10_000_000, 60)) == pytest.approx(0.02, rel=0.15)


def test_without_downtime_there_is_none() -> None:
    assert draw_outages(random.Random(2), share=0.0, length_seconds=180, until_seconds=1e9).is_up(5e8)
