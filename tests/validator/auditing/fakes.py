"""Clock, chain and database of a validator under test: real ones that a test can hold back, take away or have fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from hippy.chain.local import LocalChain
from hippy.chain.protocol import Metagraph
from hippy.endpoint import Endpoint
from hippy.errors import TemporaryError
from hippy.kv import Database, Reader, Transaction
from hippy.testing.clock import VirtualClock

WAIT_SECONDS = 20.0
T = TypeVar("T")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for real sockets and threads to have come so far."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - many events, of real nodes
            await asyncio.sleep(0.001)


class StepClock(VirtualClock):
    """Knows who sleeps, so that a test can tell when everything that was to be done is done."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep: set[asyncio.Task[Any] | None] = set()

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        self.asleep.add(task)
        try:
            await super().sleep(seconds)
        finally:
            self.asleep.discard(task)


class ReachableChain:
    """A local chain that a test can take away: then every question raises TemporaryError."""

    def __init__(self, chain: LocalChain) -> None:
        self.chain = chain
        self.away = False
        self.refusals = 0
        """How many settings of weights are refused before one is taken."""

        self.beacons: asyncio.Event | None = None
        """Beacons are told once this is set."""

        self.weights_set: list[dict[int, float]] = []
        self.network, self.netuid, self.is_local = chain.network, chain.netuid, True

    def _reach(self) -> LocalChain:
        if self.away:
            raise TemporaryError("the chain is away")
        return self.chain

    async def metagraph(self) -> Metagraph:
        return await self._reach().metagraph()

    async def current_block(self) -> int:
        return await self._reach().current_block()

    async def current_epoch(self) -> int:
        return await self._reach().current_epoch()

    async def epoch_seconds(self) -> float:
        return await self._reach().epoch_seconds()

    async def beacon(self, round_number: int) -> bytes:
        if self.beacons is not None:
            await self.beacons.wait()
        return await self._reach().beacon(round_number)

    async def beacon_round(self) -> int:
        return await self._reach().beacon_round()

    async def rounds_per_epoch(self) -> int:
        return await self._reach().rounds_per_epoch()

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        await self._reach().publish_endpoint(endpoint)

    async def set_weights(self, weights: Any) -> None:
        self._reach()
        if self.refusals:
            self.refusals -= 1
            raise TemporaryError("not now")
        await self.chain.set_weights(weights)
        self.weights_set.append(dict(weights))

    async def weights_of(self, uid: int) -> dict[int, float]:
        return await self._reach().weights_of(uid)

    async def wait_for_epoch(self) -> int:
        return await self._reach().wait_for_epoch()

    async def close(self) -> None:
        await self.chain.close()


class FailingDatabase:
    """A database that does not take what it is told ``failures`` times, after it took ``spared`` more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.failures = 0
        self.spared = 0
        self.reads_fail = 0
        self.lease, self.renew, self.unlease = database.lease, database.renew, database.unlease

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        if self.failures and self.spared:
            self.spared -= 1
        elif self.failures:
            self.failures -= 1
            raise TemporaryError("the disk is busy")
        return await self._database.transact(work)

    async def read(self, work: Callable[[Reader], T]) -> T:
        if self.reads_fail:
            self.reads_fail -= 1
            raise TemporaryError("the disk cannot be read")
        return await self._database.read(work)
