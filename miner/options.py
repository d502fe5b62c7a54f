"""What an operator decides about a store beside its size, as the store and the background work take it.

Apart from hippy.miner.settings, which reads it from a file, and from what it is for, so that neither loads the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from hippy.wire.pace import DAY


@dataclass(frozen=True, slots=True)
class Extras:
    """What a store may take of its disk beside pieces."""

    ballast_bytes: int = 0
    """See hippy.miner.ballast; 0: none."""

    quarantine_bytes_max: int = 2**30
    """Of damaged pieces that are kept for the operator."""

    quarantine_seconds: float = 30.0 * DAY
    """How long they are."""


@dataclass(frozen=True, slots=True)
class Chores:
    """How the background work is done."""

    scrub_seconds: float = 30.0 * DAY
    """How long a round of the check of all pieces takes."""

    scrub_bytes_per_second_max: int = 16 * 2**20
    """How fast it may read when it fell behind."""
