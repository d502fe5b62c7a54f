"""The tables: who stands beside whom."""

from __future__ import annotations

import math

from hippy.erasure.geometry import PROFILES, profile_of
from hippy.sim.durability.churn import DEFAULT, SOURCES, steady
from hippy.sim.durability.comparison import SHARES, comparison, named, standings


def test_codes_without_a_name_are_added_by_their_code() -> None:
    assert list(named([profile_of(10, 24), profile_of(8, 12)])) == [*PROFILES, "8/12"]


def test_every_profile_has_its_nines_at_every_known_churn() -> None:
    for each in standings(dict(PROFILES), DEFAULT, 24, 24):
        assert len(each.nines_by_source) == len(SOURCES)
        assert list(each.nines_by_source) == sorted(each.nines_by_source, reverse=True)
        assert each.fate.nines == each.nines_by_source[SOURCES.index(DEFAULT)]
        assert len(each.lost_with) == len(SHARES)
        assert list(each.lost_with) == sorted(each.lost_with)


def test_what_others_publish_does_not_depend_on_our_churn() -> None:
    calm, wild = (
        {row.name: row.annual_loss for row in comparison(steady(churn, "test"), 24, 24)} for churn in (0.001, 0.02)
    )
    unmoved = [name for name in calm if calm[name] == wild[name]]
    assert unmoved == ["Backblaze 17+3 in its data centre", "Amazon S3"]
    assert all(calm[name] <= wild[name] for name in calm)


def test_a_claim_is_called_a_claim() -> None:
    (claim,) = [row for row in comparison(DEFAULT, 24, 24) if row.name == "Amazon S3"]
    assert "claim" in claim.kind
    assert round(claim.nines) == 11
    assert math.isnan(claim.stretch)
