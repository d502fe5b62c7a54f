"""The threads in which a miner's disk work runs, and how many of them requests use.

Example::

    with DiskThreads() as threads:
        data = await threads.run(lambda: files.read(root, length))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from hippy.miner.bounds import Hold

DISK_THREADS: Final = 8
"""Disk calls at once; more only queue in the kernel."""

T = TypeVar("T")


class DiskThreads:
    """A pool for blocking calls; whoever made it calls :meth:`close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="hippy-disk")
        self._under_way = 0

    @property
    def is_busy(self) -> bool:
        """Whether as many calls are under way or in line as there are threads, so that background work should wait."""
        return self._under_way >= DISK_THREADS

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1

    async def run_holding(self, hold: Hold, work: Callable[[], T]) -> T:
        """Run ``work`` and release the hold when it has ended in its thread, whatever became of the caller."""
        working = asyncio.get_running_loop().run_in_executor(self._pool, work)
        working.add_done_callback(lambda done: _end(hold, done))
        return await asyncio.shield(working)

    def close(self) -> None:
        """Wait for what is under way. Blocking."""
        self._pool.shutdown()


def _end(hold: Hold, done: asyncio.Future[T]) -> None:
    hold.release()
    if not done.cancelled():
        done.exception()  # seen, also where the caller is gone
