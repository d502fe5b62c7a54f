"""When a machine is down: outages of one length at times that nobody foresees.

Example::

    outages = draw_outages(rng, share=0.003, length_seconds=180, until_seconds=30 * 86_400)
    outages.is_up(now)
"""

from __future__ import annotations

import random
from bisect import bisect_right


class Outages:
    """Times at which outages of equal length begin, ascending."""

    def __init__(self, starts: list[float], length_seconds: float) -> None:
        self._starts = starts
        self._length_seconds = length_seconds

    def is_up(self, now: float) -> bool:
        """Whether no outage is under way."""
        before = bisect_right(self._starts, now)
        return before == 0 or now >= self._starts[before - 1] + self._length_seconds


def draw_outages(rng: random.Random, *, share: float, length_seconds: float, until_seconds: float) -> Outages:
    """Return a Poisson process of outages that take ``share`` of the time."""
    starts: list[float] = []
    if share <= 0:
        return Outages(starts, length_seconds)
    gap_seconds = length_seconds * (1 - share) / share
    now = rng.expovariate(1 / gap_seconds)
    while now < until_seconds:
        starts.append(now)
        now += length_seconds + rng.expovariate(1 / gap_seconds)
    return Outages(starts, length_seconds)
