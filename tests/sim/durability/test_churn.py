"""Churn: what is known of others, and files of what oneself observed."""

from __future__ import annotations

import pytest

from hippy.errors import UsageError
from hippy.sim.durability.churn import COLUMNS, SOURCES, parse_churn, steady

HEAD = ",".join(COLUMNS) + "\n"


def test_the_rate_of_a_file_is_departures_by_miner_days() -> None:
    churn = parse_churn(HEAD + "2026-11-01,200,1\n2026-11-02,300,4\n", "ours.csv")
    assert churn.per_day == pytest.approx(0.01)
    assert churn.days == (1 / 200, 4 / 300)
    assert churn.source == "ours.csv: 5 departures in 2 days, 500 miner-days"
    assert churn.mean_life_days == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "does not begin"),
        ("day,miners,gone\n", "does not begin"),
        (HEAD, "no day"),
        (HEAD + "2026-11-01,200\n", "line 2"),
        (HEAD + "2026-11-01,200,1\n2026-11-02,two,1\n", "line 3"),
        (HEAD + "2026-11-01,200,-1\n", "line 2"),
        (HEAD + "2026-11-01,1e3,1\n", "line 2"),
        (HEAD + "2026-11-01,٣,1\n", "line 2"),
        (HEAD + "2026-11-01,2,3\n", "cannot have left"),
        (HEAD + "2026-11-01,0,0\n", "cannot have left"),
        (HEAD + "2026-11-01,1,0\n" * 10_001, "more than 10000 days"),
        (HEAD + "2026-11-01,2,2\n", "churn of 1.0 a day"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_churn(text, "ours.csv")


@pytest.mark.parametrize("rate", [-0.001, 0.51, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="it takes 0 to"):
        steady(rate, "test")


def test_the_known_networks_are_listed_from_the_calmest_to_the_wildest() -> None:
    rates = [source.per_day for source in SOURCES]
    assert rates == sorted(rates)
    assert all(source.source for source in SOURCES)
