"""Who there is, and who of them vanishes."""

from __future__ import annotations

import random

import pytest

from hippy.errors import UsageError
from hippy.sim.durability.population import WEIGHT_GIB, Population, make_population
from hippy.sim.durability.settings import Settings, Vanish


def population(vanish: Vanish, miners: int = 400, share: float = 0.2) -> Population:
    settings = Settings(miners=miners, vanish=vanish, largest_share=share)
    return make_population(settings, random.Random(1))


def weight_share(found: Population) -> float:
    return sum(found.weights[miner] for miner in found.vanishing) / sum(found.weights)


def test_the_largest_operator_has_its_share_of_capacity() -> None:
    assert weight_share(population(Vanish.OPERATOR)) == pytest.approx(0.2, abs=0.03)
    assert weight_share(population(Vanish.SYBIL, share=0.5)) == pytest.approx(0.5, abs=0.03)


def test_an_operator_that_is_known_has_one_coldkey_and_a_sybil_one_for_every_miner() -> None:
    known, sybil = population(Vanish.OPERATOR), population(Vanish.SYBIL)
    assert len({known.coldkeys[miner] for miner in known.vanishing}) == 1
    assert len({sybil.coldkeys[miner] for miner in sybil.vanishing}) == len(sybil.vanishing)
    assert len({sybil.groups[miner] for miner in sybil.vanishing}) == len(sybil.vanishing)


def test_nobody_else_has_the_coldkey_of_the_largest_operator() -> None:
    for vanish in (Vanish.OPERATOR, Vanish.SYBIL):
        found = population(vanish)
        theirs = {found.coldkeys[miner] for miner in found.vanishing}
        assert [m for m, key in enumerate(found.coldkeys) if key in theirs and m not in found.vanishing] == []


def test_a_vanishing_group_is_all_of_one_network() -> None:
    found = population(Vanish.GROUP)
    (group,) = {found.groups[miner] for miner in found.vanishing}
    assert {miner for miner, each in enumerate(found.groups) if each == group} == found.vanishing
    assert len(found.vanishing) > 1


def test_weights_are_within_the_limits_of_placement() -> None:
    found = population(Vanish.NONE)
    assert WEIGHT_GIB[0] <= min(found.weights) < max(found.weights) <= WEIGHT_GIB[1]
    assert found.vanishing == frozenset()


def test_fewer_independent_miners_than_pieces_are_refused() -> None:
    with pytest.raises(UsageError, match="10/24 needs 24 independent miners") as caught:
        population(Vanish.NONE, miners=30)
    assert caught.value.hint is not None
    assert "--miners" in caught.value.hint
