"""A database that tells when its log has grown, and the waiting for it: long polls without a thread.

:class:`WatchedDatabase` wraps the registry's; whoever waits in :class:`Bell` is woken after every transaction that
changed the head. A bell can be rung for nothing (what several processes share is not seen), so who waits looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from hippy.clock import Clock
from hippy.kv import Database, Reader, Transaction
from hippy.validator.log import BEGINNING, Position
from hippy.validator.tables import HEAD
from hippy.wire.log import LogHead

T = TypeVar("T")


class Bell:
    """Wakes everybody who waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def listen(self) -> asyncio.Future[None]:
        """Return what is done at the next ring; taken before one looks, no ring is missed. Pass it to :meth:`wait`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        waiter.add_done_callback(self._waiting.discard)
        return waiter

    async def wait(self, rung: asyncio.Future[None], seconds: float) -> None:
        """Return when it has rung since ``rung`` was taken, or after so many seconds."""
        if rung.done():
            return
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait([rung, pause], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            rung.cancel()


class WatchedDatabase:
    """A registry's database that rings a bell when its log has grown.

    ``newest`` is where the log ended after the newest transaction of this process, for questions that must not wait for
    a thread; other processes that share the registry may have gone on.
    """

    def __init__(self, below: Database, clock: Clock) -> None:
        self._below = below
        self._head: bytes | None = None
        self.newest = BEGINNING
        self.grown = Bell(clock)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database."""

        def watched(txn: Transaction) -> tuple[T, bytes | None]:
            result = work(txn)
            return result, txn.get(HEAD)

        result, head = await self._below.transact(watched)
        if head != self._head:
            self._head = head
            self.newest = _position(head)
            self.grown.ring()
        return result

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See hippy.kv.Database."""
        return await self._below.read(work)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See hippy.kv.Database."""
        return await self._below.lease(queue, holder, now=now, seconds=seconds, limit=limit)

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See hippy.kv.Database."""
        return await self._below.renew(keys, holder, now=now, seconds=seconds)

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See hippy.kv.Database."""
        await self._below.unlease(keys, holder)


def _position(head: bytes | None) -> Position:
    if head is None:
        return BEGINNING
    parsed = LogHead.parse(head)
    return Position(parsed.seq, parsed.head)
