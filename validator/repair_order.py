"""How long a segment has, on average, if nobody repairs it: what the repair queue is ordered by.

Owns one number per segment, expected hours to loss. What is in the queue, who repairs it and with whose bandwidth is
the repair's. Pure: counts in, hours out.

The model is a pure-death process. A piece whose miner answers is lost at the rate that the network's miners leave, a
piece whose miner is silent right now within SILENT_HOURS on average; pieces are independent; a segment of which fewer
than k pieces are left is lost. All of this only orders the queue: a model that is wrong by the same factor for
everybody orders alike.

Invariants: more healthy pieces never bring the loss nearer, a silent one counts for less than one that answers and for
more than none, a segment that cannot lose pieces has for ever, one with fewer than k pieces has no time.

Example::

    rate = 0.0002                                            # a miner in 5,000 leaves in an hour
    expected_hours_to_loss(18, 10, rate)                     # 3,330 hours
    expected_hours_to_loss(18, 10, rate, at_risk=8)          # 505: eight of them are probably gone
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

SILENT_HOURS: Final = 24.0
"""Mean hours that a piece is given whose miner does not answer now.

An offline batch fails 24 h after it was first asked (PROTOCOL §5.5), and with it the piece is lost. As a rate this
says that no silent miner comes back and that the verdict comes a day from now on average. Both are pessimistic (most
outages are short), on purpose: between two segments with equally many pieces the one with more silent holders is
repaired first, and wrongly early repair costs order, not bytes."""

CACHED_STATES: Final = 4_096
"""Answers kept: a validator's segments are in few different states (healthy, k, silent), each of them many times."""


@lru_cache(maxsize=CACHED_STATES)
def expected_hours_to_loss(healthy: int, k: int, losses_per_piece_hour: float, *, at_risk: int = 0) -> float:
    """Return the mean time until fewer than ``k`` of ``healthy`` pieces are left, in hours, without any repair.

    ``losses_per_piece_hour`` is the rate at which one piece is lost whose miner answers. ``at_risk`` of the healthy
    pieces lie with miners that are silent now: these are lost at 1 / SILENT_HOURS, or at the given rate if that is
    higher. Without them it is the sum of 1 / (i · rate) over i from k to healthy. Infinite where nothing is ever lost
    that the segment needs, 0 where it is lost already.

    Takes O(at_risk · (healthy - k)) steps; at most 255 pieces exist.
    """
    assert k >= 1
    assert 0 <= at_risk <= max(0, healthy)
    assert losses_per_piece_hour >= 0
    if healthy < k:
        return 0.0
    silent_rate = max(losses_per_piece_hour, 1 / SILENT_HOURS)
    answering = healthy - at_risk
    # hours[a]: mean time with a answering pieces and, in turn, 0, 1, 2 … silent ones.
    hours = [0.0] * (answering + 1)
    for silent in range(at_risk + 1):
        for alive in range(max(0, k - silent), answering + 1):
            lost_per_hour = alive * losses_per_piece_hour + silent * silent_rate
            if lost_per_hour == 0:
                hours[alive] = math.inf
                continue
            ahead = 1.0
            if alive and losses_per_piece_hour:
                ahead += alive * losses_per_piece_hour * (hours[alive - 1] if alive + silent > k else 0.0)
            if silent:
                ahead += silent * silent_rate * (hours[alive] if alive + silent > k else 0.0)
            hours[alive] = ahead / lost_per_hour
    return hours[answering]
