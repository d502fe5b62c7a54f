"""What the page shows that other parts of a validator keep count of: repairs, health, logs that are followed. Pure.

Each part gives a function; where one does not, the page says that this is not counted. They are called for every making
of the page, at most once in hippy.transport.readiness.KEPT_SECONDS, in a thread, on one view of the registry: they read
counters, never a table whose length grows with the registry.

Example::

    sources = Sources(health=health_of, repair=repair_of, followed=followers.logs)      # hippy.validator.page.sources
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hippy.ids import PublicKey
from hippy.kv import Reader


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """Committed segments by how many healthy pieces they have more than k (PROTOCOL §7)."""

    by_spare: Mapping[int, int]
    """Healthy pieces less k → segments; negative for those that have fewer than k and cannot be read now."""

    at_threshold: int
    """Segments with r healthy pieces or fewer, which are to be repaired; those that cannot be read are among them."""


@dataclass(frozen=True, slots=True)
class RepairFigures:
    """The repair queue."""

    queued_segments: int
    """Segments that have come so low that they are repaired, and are not yet whole again."""

    queued_bytes: int
    """Bytes of the pieces that are to be made for them."""

    stuck_segments: int
    """Segments that cannot be repaired now, for want of miners or of sources."""

    repairing: int
    """Pieces that are being made now."""


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """How far the log of another home is followed."""

    home: PublicKey
    seq: int
    """The newest record that we have and checked, 0 for none."""

    known_seq: int
    """The newest record that the home told of; at least ``seq``."""

    time: int
    """When we came as far as ``seq``, in Unix seconds; 0 for never."""


def _not_counted(_: Reader) -> None:
    return None


def _none_followed(_: Reader) -> Sequence[FollowedLog]:
    return ()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from; the defaults say that nobody counts."""

    health: Callable[[Reader], HealthFigures | None] = _not_counted
    repair: Callable[[Reader], RepairFigures | None] = _not_counted
    followed: Callable[[Reader], Sequence[FollowedLog]] = _none_followed
