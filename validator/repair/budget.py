"""How fast repairs may have miners read: a token bucket of bytes that may go into debt. Pure.

An order costs what its miner reads, which may be more than any bucket would hold; so an order may begin while nothing
is owed, and what it costs is paid off before the next.

>>> budget = ReadBudget(bytes_per_second=1_000.0)
>>> budget.take(5_000, now=100.0)
>>> budget.wait_seconds(102.0)
3.0
"""

from __future__ import annotations

from typing import Final

MBIT_BYTES: Final = 125_000


class ReadBudget:
    """What may be read, in bytes a second."""

    def __init__(self, bytes_per_second: float) -> None:
        assert bytes_per_second > 0
        self._bytes_per_second = bytes_per_second
        self._paid_at = 0.0

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds an order may begin; 0: now."""
        return max(0.0, self._paid_at - now)

    def take(self, read_bytes: int, now: float) -> None:
        """Charge an order."""
        self._paid_at = max(self._paid_at, now) + read_bytes / self._bytes_per_second
