"""Turns at something scarce: a few at work, a line of bounded length, and nobody in it for long.

A turn covers the work (reading from disk, making a long answer in a thread) and ends before the answer is sent: a
reader decides how long sending takes, and must not decide how long others wait for the work. What is being sent is
bounded by hippy.transport.outbox.

Example::

    turns = Turns(16, "reads", waiting_max=256, wait_seconds=5)
    async with turns.turn():
        data = await read()
    return await send(request, [data])
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hippy.errors import RateLimitedError


class Turns:
    """At most ``limit`` at work, at most ``waiting_max`` in line, nobody in line for longer than ``wait_seconds``."""

    def __init__(self, limit: int, name: str, *, waiting_max: int, wait_seconds: float) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(limit)
        self._waiting_max = waiting_max
        self._wait_seconds = wait_seconds
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, *, waited_seconds: float = 0.0) -> AsyncIterator[None]:
        """Wait for a turn and keep it for the duration of the block.

        ``waited_seconds`` were spent in another line before and count. Raises RateLimitedError when the line is too
        long or too slow.
        """
        await self._acquire(self._wait_seconds - waited_seconds)
        try:
            yield
        finally:
            self._slots.release()

    async def _acquire(self, wait_seconds: float) -> None:
        if self._waiting >= self._waiting_max:
            raise RateLimitedError(f"too many {self._name} at once", hint="try again in a moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise RateLimitedError(f"too many {self._name} at once", hint="try again in a moment") from None
        finally:
            self._waiting -= 1
