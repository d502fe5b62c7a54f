"""Figures of a whole registry that are counted as it changes, because counting rows would take minutes.

>>> Statistic.SEGMENTS.value
'segments'
"""

from __future__ import annotations

from enum import Enum

from hippy.kv import Reader, Transaction
from hippy.validator.tables import STATISTIC, get_count, put_count


class Statistic(Enum):
    """What is counted."""

    SEGMENTS = "segments"
    """Committed and not released."""

    RELEASED = "released"
    OBJECTS = "objects"
    """Live rows."""

    PIECES = "pieces"
    """Holdings that have not ended, of segments that are not released."""

    LOST = "lost"
    """Pieces of such segments that were ever lost."""

    MOVED = "moved"
    """Pieces that another miner ever took over."""

    QUEUED = "queued"
    """Segments that wait for their repair."""

    QUEUED_BYTES = "queued-bytes"
    """What their missing pieces add up to."""

    STUCK = "stuck"
    """Segments that cannot be repaired now, for want of miners or of sources."""

    STUCK_BYTES = "stuck-bytes"
    FLAWED = "flawed"
    """Pieces that cannot be repaired at all: their segments were badly coded."""


def get_statistic(reader: Reader, which: Statistic) -> int:
    """Return a figure."""
    return get_count(reader, _key(which))


def count(txn: Transaction, which: Statistic, change: int) -> None:
    """Add to a figure, which stays at least 0."""
    put_count(txn, _key(which), get_count(txn, _key(which)) + change)


def _key(which: Statistic) -> bytes:
    return STATISTIC + which.value.encode()
