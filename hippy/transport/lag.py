"""How late the event loop comes: what everything on it waits for when something blocks it.

Invariant: measured on the loop's own clock, so that a change of the machine's time is no lag.

Example::

    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    lag.worst_seconds       # of the last minute
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

from hippy.transport.figures import Metric, Sample

PAUSE_SECONDS: Final = 0.25
"""Between two measurements: a hundredth of a per cent of a processor, and no pause of a second goes unseen."""

WINDOW_SECONDS: Final = 60.0
"""How far back the worst one is told: longer than monitors usually pause."""

LAG: Final = Metric("hippy_event_loop_lag_seconds", "gauge", "How late the event loop came to its last measurement.")
WORST: Final = Metric("hippy_event_loop_lag_worst_seconds", "gauge", "The worst lag of the last minute.")
METRICS: Final = (LAG, WORST)


class LoopLag:
    """Measures until cancelled; see the module's docstring."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._recent: deque[float] = deque(maxlen=round(WINDOW_SECONDS / PAUSE_SECONDS))

    @property
    def worst_seconds(self) -> float:
        """The worst lag of the last minute."""
        return max(self._recent, default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PAUSE_SECONDS
            await asyncio.sleep(PAUSE_SECONDS)
            self.seconds = max(0.0, loop.time() - due)
            self._recent.append(self.seconds)

    def samples(self) -> Iterator[Sample]:
        """Yield what was measured."""
        yield LAG.sample(self.seconds)
        yield WORST.sample(self.worst_seconds)
