"""What one process of a validator does for all that share its registry: held by a lease, taken over when it ends.

A duty is a row of the registry. Whoever has the row's lease (hippy.kv.Database.lease) writes its own name into it and
works, on a database that looks at the name in every transaction: a process that lost its lease without noticing,
because it stood still or could not reach the server, can write nothing any more. The lease is renewed every
RENEW_SECONDS and given back at an orderly end; from a process that died it is taken over within LEASE_SECONDS and one
look.

Where a registry has one process, that one holds every duty from its first moment.

Example::

    await Duty(database, "sweep", clock).run(lambda database: sweep_for_ever(database))
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from hippy.clock import Clock
from hippy.errors import ConflictError, TemporaryError
from hippy.kv import Database, Reader, Transaction

log = logging.getLogger("hippy.validator")

T = TypeVar("T")

DUTY: Final = b"duty/"
"""Followed by the name and a slash: who has the duty."""

LEASE_SECONDS: Final = 20.0
"""Clocks of machines agree to 2 s (docs/OPERATING.md); a machine that stands still for longer loses its duties."""

RENEW_SECONDS: Final = 5.0
"""Also how often it is looked whether a duty is free."""

HOLDER_BYTES: Final = 16


class DutyLostError(ConflictError):
    """Another process has the duty now; nothing was written."""


Work = Callable[[Database], Awaitable[None]]


class Duty:
    """One duty as one process sees it."""

    def __init__(self, database: Database, name: str, clock: Clock) -> None:
        self._database = database
        self._name = name
        self._clock = clock
        self._key = DUTY + name.encode() + b"/"
        self._holder = secrets.token_bytes(HOLDER_BYTES)
        self.is_held = False
        """Whether this process works now."""

    async def run(self, work: Work) -> None:
        """Do ``work`` whenever no other process does, until cancelled; what it raises, this raises."""
        while True:
            try:
                guarded = await self._take()
            except TemporaryError as error:
                log.warning("whether %s is to be done here is not known: %s", self._name, error)
                guarded = None
            if guarded is not None:
                await self._hold(guarded, work)
            await self._clock.sleep(RENEW_SECONDS)

    async def _take(self) -> GuardedDatabase | None:
        """Take the lease and write our name, None where another process has it."""
        if await self._database.read(lambda reader: reader.get(self._key)) is None:
            await self._database.transact(self._make)
        now = self._clock.now()
        if not await self._database.lease(self._key, self._holder, now=now, seconds=LEASE_SECONDS, limit=1):
            return None
        await self._database.transact(lambda txn: txn.put(self._key, self._holder))
        return GuardedDatabase(self._database, self._key, self._holder)

    def _make(self, txn: Transaction) -> None:
        if txn.get(self._key) is None:
            txn.put(self._key, b"")

    async def _hold(self, guarded: GuardedDatabase, work: Work) -> None:
        """Work until the lease is lost."""
        log.info("%s is done by this process now", self._name)
        self.is_held = True
        working = asyncio.ensure_future(work(guarded))
        watching = [asyncio.ensure_future(self._renew()), asyncio.ensure_future(guarded.lost.wait())]
        try:
            await asyncio.wait([working, *watching], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            log.warning("%s is no longer done by this process", self._name)
        finally:
            self.is_held = False
            for task in (working, *watching):
                task.cancel()
            await asyncio.gather(working, *watching, return_exceptions=True)
            with suppress(TemporaryError):  # then it runs out
                await self._database.unlease([self._key], self._holder)

    async def _renew(self) -> None:
        """Renew the lease as long as that is possible; ends when it is lost, or may soon be."""
        until = self._clock.now() + LEASE_SECONDS - RENEW_SECONDS  # it was taken at most a moment ago
        while self._clock.now() < until:
            await self._clock.sleep(RENEW_SECONDS)
            now = self._clock.now()
            try:
                if not await self._database.renew([self._key], self._holder, now=now, seconds=LEASE_SECONDS):
                    return
                until = now + LEASE_SECONDS - RENEW_SECONDS
            except TemporaryError as error:
                log.warning("the lease of %s was not renewed: %s", self._name, error)


class GuardedDatabase:
    """A database on which only the holder of a duty writes."""

    def __init__(self, database: Database, key: bytes, holder: bytes) -> None:
        self._database = database
        self._key = key
        self._holder = holder
        self.lost = asyncio.Event()
        """Set when a transaction found another holder."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See Database. Raises DutyLostError, and then nothing was written."""

        def checked(txn: Transaction) -> T:
            if txn.get(self._key) != self._holder:
                raise DutyLostError("another process of this validator has taken over")
            return work(txn)

        try:
            return await self._database.transact(checked)
        except DutyLostError:
            self.lost.set()
            raise

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See Database."""
        return await self._database.read(work)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See Database."""
        return await self._database.lease(queue, holder, now=now, seconds=seconds, limit=limit)

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See Database."""
        return await self._database.renew(keys, holder, now=now, seconds=seconds)

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See Database."""
        await self._database.unlease(keys, holder)
