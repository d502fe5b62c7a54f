"""Time as an argument: the Clock that shells are given, and the real one.

Pure code takes ``now`` as a value. Only what has to wait takes a Clock. Tests pass
hippy.testing.clock.VirtualClock.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Unix time and a way to wait for it."""

    def now(self) -> float:
        """Return Unix seconds."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of this clock."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await asyncio.sleep(seconds)
