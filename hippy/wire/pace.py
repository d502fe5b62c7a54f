"""How long things wait, and how that shrinks where epochs are short (docs/PROTOCOL.md §4.2, §5.5).

A subnet's epoch has 72 minutes. A local network's has seconds, so that people see in a minute what takes days
elsewhere: waiting times of days are scaled by its epoch, but are never below a second.

>>> pace_of(4_320.0).trash_seconds
604800
>>> pace_of(20.0).drop_grace_seconds
400
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY: Final = 24 * 3_600
SHORT_EPOCH_SECONDS: Final = 3_600.0
"""Below this an epoch is a local network's."""

USUAL_EPOCH_SECONDS: Final = 4_320.0
"""360 blocks of 12 s, which all waiting times were chosen for."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The waiting times of releases; all in seconds."""

    drop_grace_seconds: int = DAY
    """From an account's drop to the release of the segment."""

    lease_seconds: int = 7 * DAY
    """How long a committed segment is kept that no row names; a lease can be renewed."""

    trash_seconds: int = 7 * DAY
    """How long a miner keeps, and serves, released bytes."""


USUAL_PACE: Final = Pace()


def scaled(seconds: float, epoch_seconds: float) -> float:
    """Return a waiting time as it is on a network with such epochs: unchanged on a subnet, at least 1 s."""
    if epoch_seconds >= SHORT_EPOCH_SECONDS:
        return seconds
    return max(1.0, seconds * epoch_seconds / USUAL_EPOCH_SECONDS)


def pace_of(epoch_seconds: float) -> Pace:
    """Return the waiting times of a network with such epochs."""
    usual = USUAL_PACE
    return Pace(
        drop_grace_seconds=int(scaled(usual.drop_grace_seconds, epoch_seconds)),
        lease_seconds=int(scaled(usual.lease_seconds, epoch_seconds)),
        trash_seconds=int(scaled(usual.trash_seconds, epoch_seconds)),
    )
