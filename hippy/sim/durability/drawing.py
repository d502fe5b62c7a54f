"""Where pieces go, fast: the distribution of hippy.validator.placement without its hashes.

Rendezvous hashing gives each piece to an eligible miner with probability proportional to its weight (the smallest of
exponential variables with these rates). Drawing by weight and drawing again while the miner is not eligible is the same
distribution, at 1/500 of the cost; tests/sim/durability/test_drawing.py compares the two.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from hippy.sim.durability.population import Population

TRIES: Final = 60
"""Draws before the eligible miners are listed instead, which ends in any case."""


class Drawer:
    """Draws miners for pieces of one segment at a time. ``usable[m]`` is true for miners that can take a piece now."""

    def __init__(self, population: Population, usable: Sequence[bool], rng: random.Random) -> None:
        self._weights = population.weights
        self._coldkeys = population.coldkeys
        self._groups = population.groups
        self._usable = usable
        self._rng = rng
        self._numbers = range(len(population.weights))
        self._cumulative = list(accumulate(population.weights))

    def draw(self, count: int, holders: Sequence[int]) -> list[int]:
        """Return miners for ``count`` pieces of a segment whose others ``holders`` hold; fewer where none is left."""
        coldkeys, groups = self._coldkeys, self._groups
        taken_coldkeys = {coldkeys[holder] for holder in holders}
        taken_groups = {groups[holder] for holder in holders}
        found: list[int] = []
        tries = 0
        while len(found) < count:
            if tries < TRIES * count:
                miner = bisect_right(self._cumulative, int(self._rng.random() * self._cumulative[-1]))
                tries += 1
                if not self._usable[miner] or coldkeys[miner] in taken_coldkeys or groups[miner] in taken_groups:
                    continue
            else:
                eligible = [
                    other
                    for other in self._numbers
                    if self._usable[other]
                    and coldkeys[other] not in taken_coldkeys
                    and groups[other] not in taken_groups
                ]
                if not eligible:
                    break
                miner = self._rng.choices(eligible, weights=[self._weights[other] for other in eligible])[0]
            found.append(miner)
            taken_coldkeys.add(coldkeys[miner])
            taken_groups.add(groups[miner])
        return found
