"""A chain that is asked seldom: what changes once an epoch is read once an epoch, and old answers tide over outages.

It wraps any Chain and is one. Nodes ask for the metagraph with every ticket and every handshake; a remote node should
answer that once an epoch. The metagraph is read again when an epoch has begun (a task waits for it) and after our own
endpoint changed; while the chain does not answer or hangs, it is served as it was for ``STALE_SECONDS``. A round's
beacon never changes and is kept; an epoch's length is read once an epoch; newest block, epoch and round may be
``TIP_SECONDS`` old. Weights and what is written go straight to the chain.

So a node learns of new neurons, permits and endpoints within an epoch.

Example::

    async with open_cached(chain, clock) as chain:
        await chain.metagraph()
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from hippy.chain.protocol import Chain, Metagraph
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import HippyError, TemporaryError
from hippy.ids import NetworkId

log = logging.getLogger("hippy.chain")

STALE_SECONDS: Final = 3 * 3600.0
"""Two and a half epochs of mainnet: permits rarely change faster, and an outage of the chain should not be one of
the storage."""

FRESH_SECONDS: Final = 1.5 * 3600.0
"""Longer than mainnet's epochs of 72 minutes: for a chain that stopped telling of epochs, or has much longer ones."""

TIP_SECONDS: Final = 3.0
"""A quarter of mainnet's blocks; one round of drand."""

PATIENCE_SECONDS: Final = 5.0
"""How long after a question began those who have an old answer wait for the new one; a chain that hangs must not make
the storage hang."""

RETRY_SECONDS: Final = 12.0
"""Between two attempts to read while the chain is away."""

ROUNDS_KEPT: Final = 1_024

_Number = TypeVar("_Number", int, float)


@asynccontextmanager
async def open_cached(chain: Chain, clock: Clock) -> AsyncIterator[CachedChain]:
    """Wrap a chain for the duration of the block, with a task that watches for epochs."""
    cached = CachedChain(chain, clock)
    watching = asyncio.create_task(cached.watch())
    try:
        yield cached
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await cached.stop()


class CachedChain:
    """A Chain over another; see the module's docstring."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._metagraph: Metagraph | None = None
        self._is_fresh = False
        self._read_time = float("-inf")
        self._retry_time = float("-inf")
        self._asked_time = float("-inf")
        self._reading: asyncio.Task[HippyError | None] | None = None
        self._forgotten = 0
        self._rounds: OrderedDict[int, bytes] = OrderedDict()
        self._numbers: dict[str, tuple[float, Any]] = {}

    @property
    def network(self) -> NetworkId:
        """The chain's genesis hash."""
        return self._chain.network

    @property
    def netuid(self) -> int:
        """The subnet's number."""
        return self._chain.netuid

    @property
    def is_local(self) -> bool:
        """Whether private endpoints are allowed."""
        return self._chain.is_local

    async def watch(self) -> None:
        """Note when an epoch begins, until cancelled."""
        while True:
            try:
                await self._chain.wait_for_epoch()
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it has to go on watching
                log.warning("the chain cannot be watched: %s: %s", type(error).__name__, error)
                await self._clock.sleep(RETRY_SECONDS)
            self._forget()

    async def stop(self) -> None:
        """End a read that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def metagraph(self) -> Metagraph:
        """Return the metagraph of this epoch; an older one while the chain does not answer, or takes long to.

        Raises TemporaryError when it does not answer and what we have is too old.
        """
        failure = await self._read_if_due()
        if self._metagraph is None or self._age() >= STALE_SECONDS:
            raise failure or TemporaryError("the chain does not answer, and what it said last is too old")
        return self._metagraph

    async def _read_if_due(self) -> HippyError | None:
        """Read when what we have is old; return why that failed.

        All who ask share one read, which goes on when one of them is cancelled. Who has an old answer waits only
        so long, and who comes later not anew.
        """
        is_old = not self._is_fresh or self._age() >= FRESH_SECONDS
        if not is_old or self._clock.now() < self._retry_time:
            return None
        if self._reading is None:
            self._asked_time = self._clock.now()
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        if self._metagraph is None or self._age() >= STALE_SECONDS:
            return await asyncio.shield(reading)
        patience_seconds = self._asked_time + PATIENCE_SECONDS - self._clock.now()
        if patience_seconds <= 0:
            return None
        patience = asyncio.create_task(self._clock.sleep(patience_seconds))
        try:
            await asyncio.wait({reading, patience}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()
        return None

    async def _read(self) -> HippyError | None:
        before = self._forgotten
        try:
            self._metagraph = await self._chain.metagraph()
        except HippyError as error:
            self._retry_time = self._clock.now() + RETRY_SECONDS
            log.warning("the metagraph stays as it was: %s", error)
            return error
        finally:
            self._reading = None
        self._read_time = self._clock.now()
        self._is_fresh = before == self._forgotten  # an epoch that began meanwhile makes the answer old
        return None

    def _age(self) -> float:
        """Seconds since the metagraph was read."""
        return self._clock.now() - self._read_time

    async def current_block(self) -> int:
        """Return the newest block number."""
        return await self._number("block", self._chain.current_block, TIP_SECONDS)

    async def current_epoch(self) -> int:
        """Return the number of the epoch that the newest block is in."""
        return await self._number("epoch", self._chain.current_epoch, TIP_SECONDS)

    async def epoch_seconds(self) -> float:
        """Return how long an epoch takes, about."""
        return await self._number("epoch seconds", self._chain.epoch_seconds, FRESH_SECONDS)

    async def beacon_round(self) -> int:
        """Return the newest round whose beacon is known."""
        return await self._number("round", self._chain.beacon_round, TIP_SECONDS)

    async def rounds_per_epoch(self) -> int:
        """Return how many beacon rounds an epoch has, about."""
        return await self._number("rounds per epoch", self._chain.rounds_per_epoch, FRESH_SECONDS)

    async def beacon(self, round_number: int) -> bytes:
        """Return the 32 random bytes of a round.

        Raises BeaconNotYet while the round lies in the future, UsageError for a negative one.
        """
        value = self._rounds.get(round_number)
        if value is None:
            value = await self._chain.beacon(round_number)
            self._rounds[round_number] = value
            while len(self._rounds) > ROUNDS_KEPT:
                self._rounds.popitem(last=False)
        return value

    async def wait_for_epoch(self) -> int:
        """Return the number of the next epoch once its first block is there."""
        epoch = await self._chain.wait_for_epoch()
        self._forget()  # whoever waited may ask before our own task has woken
        return epoch

    def _forget(self) -> None:
        self._forgotten += 1
        self._is_fresh = False
        self._numbers.clear()

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the address of our hotkey."""
        await self._chain.publish_endpoint(endpoint)
        self._forget()

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """Set our weights."""
        await self._chain.set_weights(weights)

    async def weights_of(self, uid: int) -> dict[int, float]:
        """Return the weights that a validator has on chain now."""
        return await self._chain.weights_of(uid)

    async def close(self) -> None:
        """Close the chain; a second time does nothing."""
        await self._chain.close()

    async def _number(self, name: str, ask: Callable[[], Awaitable[_Number]], seconds: float) -> _Number:
        """Return a number that may be ``seconds`` old, but not from before the newest epoch."""
        read_time, kept = self._numbers.get(name, (float("-inf"), 0))
        value: _Number = kept
        if self._clock.now() >= read_time + seconds:
            before = self._forgotten
            value = await ask()
            if before == self._forgotten:
                self._numbers[name] = self._clock.now(), value
        return value
