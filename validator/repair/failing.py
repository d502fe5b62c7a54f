"""Sources that failed: which pieces were left out of orders lately because they could not be read. Pure.

Kept in memory, for an hour, and of the newest SOURCES_MAX: it saves orders, it judges nobody.

>>> failing = FailingSources()
>>> failing.note(PublicKey(b"m" * 32), Root(b"r" * 32), now=0.0)
>>> failing.is_failing(PublicKey(b"m" * 32), Root(b"r" * 32), now=3_599.0)
True
"""

from __future__ import annotations

from typing import Final

from hippy.ids import PublicKey, Root

FAILING_SECONDS: Final = 3_600.0
SOURCES_MAX: Final = 65_536


class FailingSources:
    """Pieces that a miner should have and did not give."""

    def __init__(self) -> None:
        self._until: dict[tuple[PublicKey, Root], float] = {}

    def note(self, miner: PublicKey, root: Root, now: float) -> None:
        """Leave a miner's piece out for a while."""
        if len(self._until) >= SOURCES_MAX:
            del self._until[next(iter(self._until))]
        self._until[miner, root] = now + FAILING_SECONDS

    def is_failing(self, miner: PublicKey, root: Root, now: float) -> bool:
        """Return whether a piece failed lately."""
        return self._until.get((miner, root), now) > now
