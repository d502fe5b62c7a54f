"""The miners as a client sees them: where they are, whether they are who they say, how they have done so far.

Owns the directory's cache, one handshake per miner and session before any use of its endpoint, and an average of
failures per miner that orders choices. Moves no pieces itself (hippy.client.upload, hippy.client.download).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from hippy.client.validator_api import ValidatorApi
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import UnreachableError
from hippy.identity import ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.transport.client import Http, Peer
from hippy.transport.hello import shake_hands
from hippy.wire.node import MinerEntry

DIRECTORY_SECONDS: Final = 60.0
FAILURE_WEIGHT: Final = 0.3
"""Weight of the newest outcome in a miner's average: three failures in a row outweigh a clean past."""

BAD_AVERAGE: Final = 0.25
"""From here on a miner is asked after the others: one failure is enough."""


class Miners:
    """Miners of one network, for the length of a session."""

    def __init__(self, http: Http, api: ValidatorApi, network: NetworkId, clock: Clock, *, local: bool) -> None:
        self._http = http
        self._api = api
        self._network = network
        self._clock = clock
        self._local = local
        self._entries: Mapping[PublicKey, MinerEntry] = {}
        self._entries_until = 0.0
        self._reading = asyncio.Lock()
        self._greeted: dict[Peer, asyncio.Task[object]] = {}
        self._failures: dict[PublicKey, float] = {}

    async def entries(self) -> Mapping[PublicKey, MinerEntry]:
        """Return the directory by hotkey, at most a minute old."""
        async with self._reading:
            if self._clock.now() >= self._entries_until:
                directory = await self._api.directory()
                self._entries = {entry.hotkey: entry for entry in directory.miners}
                self._entries_until = self._clock.now() + DIRECTORY_SECONDS
        return self._entries

    async def independent_count(self) -> int:
        """Return how many live miners could hold pieces of one segment (PROTOCOL §3.1, Placement)."""
        live = [entry for entry in (await self.entries()).values() if entry.state == "live" and entry.endpoint]
        if self._local:
            return len(live)
        coldkeys: set[PublicKey] = set()
        groups: set[str] = set()
        for entry in live:
            assert entry.endpoint is not None
            if entry.coldkey not in coldkeys and entry.endpoint.group not in groups:
                coldkeys.add(entry.coldkey)
                groups.add(entry.endpoint.group)
        return len(coldkeys)

    async def peer_of(self, miner: PublicKey) -> Peer:
        """Return where a miner listens according to the directory, once it has proved to be there.

        Raises UnreachableError when it publishes no endpoint, and what the handshake raises.
        """
        entry = (await self.entries()).get(miner)
        if entry is None or entry.endpoint is None:
            raise UnreachableError(f"miner {ss58_encode(miner)[:8]}… publishes no endpoint")
        return await self.greet(miner, entry.endpoint)

    async def greet(self, miner: PublicKey, endpoint: Endpoint) -> Peer:
        """Return a miner at an endpoint somebody named, once it has proved to be there; one handshake a session."""
        peer = Peer(endpoint, miner)
        task = self._greeted.get(peer)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._shake(peer))
            self._greeted[peer] = task
        await asyncio.shield(task)
        return peer

    async def close(self) -> None:
        """End handshakes that nobody waits for any more."""
        tasks = list(self._greeted.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def succeeded(self, miner: PublicKey) -> None:
        """Remember that a miner did what it was asked."""
        self._failures[miner] = self.failure_average(miner) * (1 - FAILURE_WEIGHT)

    def failed(self, miner: PublicKey) -> None:
        """Remember that it did not."""
        self._failures[miner] = self.failure_average(miner) * (1 - FAILURE_WEIGHT) + FAILURE_WEIGHT

    def failure_average(self, miner: PublicKey) -> float:
        """Return the weighted share of requests that failed, 0 for a stranger."""
        return self._failures.get(miner, 0.0)

    async def is_good(self, miner: PublicKey) -> bool:
        """Return whether a miner is worth asking first."""
        entry = (await self.entries()).get(miner)
        return entry is not None and entry.state == "live" and self.failure_average(miner) < BAD_AVERAGE

    async def _shake(self, peer: Peer) -> object:
        return await shake_hands(self._http, peer, "miner", self._network, local=self._local, clock=self._clock)
