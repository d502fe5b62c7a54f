"""Time that passes only when a test says so: a verified stand-in for hippy.clock.SystemClock.

``sleep`` suspends until ``advance`` moves the clock past the wake time; nobody waits for real. Sleepers wake
in the order of their wake times, those of one instant in the order in which they went to sleep, and each sees
``now()`` at exactly its wake time, so one seed gives one run.

Work in threads is not waited for: a task that is in ``asyncio.to_thread`` when time is advanced goes to sleep
later than one might think. Await it before advancing.

>>> async def example() -> float:
...     clock = VirtualClock()
...     nap = asyncio.create_task(clock.sleep(3600))
...     await clock.advance(3600)
...     await nap
...     return clock.now() - START_SECONDS
>>> asyncio.run(example())
3600.0
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Final

START_SECONDS: Final = 1_800_000_000.0
"""Unix time at which virtual clocks start unless told: a whole number, so that small steps stay exact."""

_SETTLE_TURNS: Final = 32
"""Turns of the event loop given to woken tasks; a chain of awaits, task groups and queues needs a handful."""

_IDLE_TURNS: Final = 4
"""Turns without anything to do after which no more are given: only sockets and threads could bring something."""


class VirtualClock:
    """A Clock whose time is a value; see the module's docstring."""

    def __init__(self, start_seconds: float = START_SECONDS) -> None:
        self._now = start_seconds
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return virtual Unix seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by ``seconds``; at once, but after a turn, when that is ≤ 0."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time on by ``seconds``, waking sleepers on the way and letting them run.

        Only one task at a time may advance a clock, and never backwards.
        """
        assert seconds >= 0, "time does not run backwards"
        target = self._now + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._wake_next_instant()
            await _settle()
        self._now = target

    def _wake_next_instant(self) -> None:
        self._now = self._sleepers[0][0]
        while self._sleepers and self._sleepers[0][0] == self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # a cancelled sleeper stays in the heap until its time
                woken.set_result(None)


async def _settle() -> None:
    ready = getattr(asyncio.get_running_loop(), "_ready", None)  # asyncio's own loops tell what is still to be run
    idle = 0
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)
        idle = 0 if ready is None or ready else idle + 1
        if idle == _IDLE_TURNS:
            return
