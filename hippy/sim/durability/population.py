"""Who there is: miners with weights, coldkeys and address groups, one operator being the largest.

Invariants: the same settings and generator give the same population; miners of one operator share a coldkey, except
for a sybil's, which share nothing that placement could see.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from hippy.errors import UsageError
from hippy.sim.durability.settings import Settings, Vanish

WEIGHT_MEDIAN_GIB: Final = 2_000
WEIGHT_SPREAD: Final = 1.0
WEIGHT_GIB: Final = (100, 10_000)
"""Weights are capacities in GiB, at most 10,000 (PROTOCOL §3.1)."""

MORE_MINERS: Final = 0.5
"""Probability that an operator has one more miner: two on average."""

HOSTED: Final = 1 / 3
"""Share of miners in a network that they share with strangers."""

MINERS_PER_NETWORK: Final = 10


@dataclass(frozen=True, slots=True)
class Population:
    """Miners by number: integer weights, coldkeys and groups as small numbers; ``vanishing`` are those that vanish."""

    weights: tuple[int, ...]
    coldkeys: tuple[int, ...]
    groups: tuple[int, ...]
    vanishing: frozenset[int]


def make_population(settings: Settings, rng: random.Random) -> Population:
    """Return a population.

    Raises UsageError where there are fewer independent miners than pieces, or would be after the vanishing.
    """
    low, high = WEIGHT_GIB
    weights = tuple(
        round(min(high, max(low, WEIGHT_MEDIAN_GIB * rng.lognormvariate(0, WEIGHT_SPREAD))))
        for _ in range(settings.miners)
    )
    largest = _largest(weights, settings.largest_share)
    coldkeys, groups = _identities(settings.miners, rng)
    if settings.vanish is Vanish.SYBIL:
        own = len(weights) * 2
        for miner in largest:
            coldkeys[miner] = groups[miner] = own + miner
    else:
        for miner in largest:
            coldkeys[miner] = -1
    population = Population(weights, tuple(coldkeys), tuple(groups), _vanishing(settings, weights, groups, largest))
    _check_enough(settings, population)
    return population


def _largest(weights: tuple[int, ...], share: float) -> frozenset[int]:
    """Return the first miners that have this share of all weight together; numbers say nothing about size."""
    wanted, found = share * sum(weights), 0
    for count, weight in enumerate(weights):
        if found >= wanted:
            return frozenset(range(count))
        found += weight
    return frozenset(range(len(weights)))


def _identities(miners: int, rng: random.Random) -> tuple[list[int], list[int]]:
    """Return coldkeys and groups: an operator goes on with probability MORE_MINERS, networks have numbers from 0."""
    coldkeys: list[int] = []
    coldkey = 0
    for _ in range(miners):
        coldkeys.append(coldkey)
        if rng.random() >= MORE_MINERS:
            coldkey += 1
    networks = max(1, round(miners * HOSTED / MINERS_PER_NETWORK))
    groups = [rng.randrange(networks) if rng.random() < HOSTED else networks + miner for miner in range(miners)]
    return coldkeys, groups


def _vanishing(
    settings: Settings, weights: tuple[int, ...], groups: list[int], largest: frozenset[int]
) -> frozenset[int]:
    match settings.vanish:
        case Vanish.NONE:
            return frozenset()
        case Vanish.OPERATOR | Vanish.SYBIL:
            return largest
        case Vanish.GROUP:
            held: Counter[int] = Counter()
            for group, weight in zip(groups, weights, strict=True):
                held[group] += weight
            most = max(held, key=lambda group: held[group])
            return frozenset(miner for miner, group in enumerate(groups) if group == most)


def _check_enough(settings: Settings, population: Population) -> None:
    staying = [miner for miner in range(settings.miners) if miner not in population.vanishing]
    independent = min(len({labels[miner] for miner in staying}) for labels in (population.coldkeys, population.groups))
    if independent < settings.profile.n:
        raise UsageError(
            f"{settings.profile} needs {settings.profile.n} independent miners, "
            f"{settings.miners} miners have {independent} coldkeys and address groups that stay",
            hint="use more miners (--miners) or a code with fewer pieces (--ec)",
        )
