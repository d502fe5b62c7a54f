"""The memory of a put: a fixed number of segment buffers, used again and again.

A segment lives in one buffer from the first byte read to the last piece sent: data, padding, parity, sealed in
place. Whoever wants to read the next segment waits for a buffer, and that is what bounds memory, whatever
the size of the files.
"""

from __future__ import annotations

import asyncio
import mmap
from typing import Final

from hippy.erasure.geometry import PIECE_LENGTH_MAX

MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""What a put may take in all."""

SENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Pieces on their way at any moment; the sockets may hold a second copy of these."""

OTHER_BYTES: Final = 96 * 1024 * 1024
"""The interpreter, its libraries, and what encoding a segment takes besides its buffer."""

BUFFERS_MAX: Final = 4
"""One being read, one prepared, two sent: more do not make it faster."""


def buffer_count(n: int, memory_bytes_max: int = MEMORY_BYTES_MAX) -> int:
    """Return how many segment buffers of n pieces fit the memory that a put may take, at least one."""
    room = memory_bytes_max - SENDING_BYTES_MAX - OTHER_BYTES
    return max(1, min(BUFFERS_MAX, room // (n * PIECE_LENGTH_MAX)))


class BufferPool:
    """``count`` buffers of n pieces of the greatest length, made when first needed."""

    def __init__(self, n: int, count: int) -> None:
        self._bytes = n * PIECE_LENGTH_MAX
        self._left = count
        self._free: asyncio.LifoQueue[memoryview] = asyncio.LifoQueue()

    async def take(self) -> memoryview:
        """Return a buffer with anything in it, once one is free."""
        if self._free.empty() and self._left:
            self._left -= 1
            return memoryview(mmap.mmap(-1, self._bytes))  # pages take memory when they are first written
        return await self._free.get()

    def give_back(self, buffer: memoryview) -> None:
        """Let somebody else have it; nobody may hold a slice any more."""
        self._free.put_nowait(buffer)


class ByteBudget:
    """At most so many bytes on their way at once; more than the whole budget goes alone."""

    def __init__(self, limit: int, items_max: int) -> None:
        self._limit = limit
        self._used = 0
        self._items_left = items_max
        self._changed = asyncio.Condition()

    async def acquire(self, size: int) -> None:
        """Wait until ``size`` more bytes may go."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._items_left and (not self._used or self._used + size <= self._limit)
            )
            self._used += size
            self._items_left -= 1

    async def release(self, size: int) -> None:
        """Say that they are gone."""
        async with self._changed:
            self._used -= size
            self._items_left += 1
            self._changed.notify_all()
