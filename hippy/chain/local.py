"""LocalChain: the chain of a local network, a SQLite file shared by its processes.

This module owns time: blocks, epochs and the beacon are computed from the clock and the genesis, never
written, so that all processes agree without talking. Block b begins ``b * block_seconds`` after genesis,
epoch e is the blocks ``e * tempo_blocks`` and on, and there is one beacon round per block, with its number:
``beacon(r) = H(genesis secret; u64 r)`` (PROTOCOL §3.1), told from block r on. Neurons and weights are left
to hippy.chain.local_store, incentives to hippy.chain.yuma.

It trusts its processes: each can read the secret in the file, so the beacon is unpredictable only to who asks
for it here. Enough to run and test hippy on one machine; no defence against its owner.

::

    LocalChain.create(path, clock=clock, network=network, genesis_secret=secret)
    async with open_local_chain(path, hotkey=None, clock=clock) as supervisor:
        await supervisor.register(hotkey, coldkey, validator_permit=False, stake_rao=0)
    async with open_local_chain(path, hotkey=hotkey, clock=clock) as chain:
        await chain.publish_endpoint(Endpoint("127.0.1.1", 4000))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from hippy.chain.local_schema import Genesis, create_file
from hippy.chain.local_store import LocalStore
from hippy.chain.protocol import BeaconNotYet, Metagraph
from hippy.chain.weights import check_weights, normalised
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, UsageError
from hippy.hashing import keyed, u64
from hippy.ids import NetworkId, PublicKey

_MICROSECONDS: Final = 1_000_000

_SLEEP_SECONDS_MIN: Final = 0.001
"""A clock may wake us a hair early; then sleep this long rather than spin."""

_Result = TypeVar("_Result")


class LocalChain:
    """A :class:`hippy.chain.protocol.Chain` over a shared file, seen by one hotkey or, without, a reader."""

    def __init__(
        self, store: LocalStore, worker: ThreadPoolExecutor, *, hotkey: PublicKey | None, clock: Clock
    ) -> None:
        """Take an opened store and the one thread it lives in; see :func:`open_local_chain`."""
        self._store = store
        self._worker = worker
        self._hotkey = hotkey
        self._clock = clock
        self._genesis = store.genesis
        self._closed = False

    @staticmethod
    def create(
        path: Path,
        *,
        clock: Clock,
        network: NetworkId,
        genesis_secret: bytes,
        netuid: int = 1,
        block_seconds: float = 1.0,
        tempo_blocks: int = 20,
    ) -> None:
        """Make the file of a new chain whose block 0 begins now; blocks for a few milliseconds.

        Raises ConfigError when the path is taken or cannot be written, UsageError for impossible values.
        """
        genesis = Genesis(
            network=network,
            secret=genesis_secret,
            netuid=netuid,
            genesis_microseconds=_microseconds(clock.now()),
            block_microseconds=_microseconds(block_seconds),
            tempo_blocks=tempo_blocks,
        )
        create_file(path, genesis)

    @property
    def network(self) -> NetworkId:
        """The local network's random id."""
        return self._genesis.network

    @property
    def netuid(self) -> int:
        """The subnet's number."""
        return self._genesis.netuid

    @property
    def is_local(self) -> bool:
        """True: endpoints are addresses inside this machine or its network."""
        return True

    async def metagraph(self) -> Metagraph:
        """Return all neurons as they are now.

        Raises TemporaryError when the file stays locked or its disk fails.
        """
        block = self._block()
        neurons = await self._run(self._store.neurons)
        return Metagraph(block=block, tempo_blocks=self._genesis.tempo_blocks, neurons=neurons)

    async def current_block(self) -> int:
        """Return the number of the block that the clock is in."""
        return self._block()

    async def beacon(self, round_number: int) -> bytes:
        """Return the 32 bytes of a round.

        Raises BeaconNotYet before the block of that number, UsageError for what is no round number.
        """
        if round_number < 0:
            raise UsageError(f"beacon rounds count from 0, there is no round {round_number}")
        if round_number > self._block():
            raise BeaconNotYet(f"beacon round {round_number} lies in the future")
        return keyed(self._genesis.secret, u64(round_number))

    async def current_epoch(self) -> int:
        """Return the number of the epoch that the clock is in."""
        return self._epoch()

    async def epoch_seconds(self) -> float:
        """Return how long an epoch takes."""
        return self._genesis.tempo_blocks * self._genesis.block_microseconds / _MICROSECONDS

    async def beacon_round(self) -> int:
        """Return the newest round, which is the newest block."""
        return self._block()

    async def rounds_per_epoch(self) -> int:
        """Return how many beacon rounds an epoch has: one per block."""
        return self._genesis.tempo_blocks

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the address of our hotkey.

        Raises AuthError when the hotkey is not registered, TemporaryError when the file stays locked.
        """
        await self._run(partial(self._store.publish_endpoint, self._own_hotkey(), endpoint))

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """Replace our weights, uid → non-negative weight.

        Raises AuthError without a validator permit, UsageError for an empty, negative or foreign entry or
        when no weight is positive, TemporaryError when the file stays locked.
        """
        check_weights(weights)
        await self._run(partial(self._store.set_weights, self._own_hotkey(), dict(weights)))

    async def weights_of(self, uid: int) -> dict[int, float]:
        """Return the weights that ``uid`` last set, uid → share of 1; empty when it has set none.

        Raises TemporaryError when the file stays locked.
        """
        return normalised(await self._run(partial(self._store.weights_of, uid)))

    async def wait_for_epoch(self) -> int:
        """Wait for the first block of the next epoch and return the epoch we are in then.

        That is the next one, or a later one if this process was suspended meanwhile.
        """
        target_block = (self._epoch() + 1) * self._genesis.tempo_blocks
        while self._block() < target_block:
            seconds = self._begin_seconds(target_block) - self._clock.now()
            await self._clock.sleep(max(seconds, _SLEEP_SECONDS_MIN))
        return self._epoch()

    async def register(self, hotkey: PublicKey, coldkey: PublicKey, *, validator_permit: bool, stake_rao: int) -> int:
        """Register ``hotkey`` on the smallest free uid and return the uid; for the network's supervisor.

        Raises ConflictError when it is registered already, UsageError for an impossible key or stake,
        ConfigError when the subnet is full, TemporaryError when the file stays locked.
        """
        return await self._run(
            partial(
                self._store.register,
                hotkey,
                coldkey,
                validator_permit=validator_permit,
                stake_rao=stake_rao,
                block=self._block(),
            )
        )

    async def deregister(self, hotkey: PublicKey) -> None:
        """Free the uid of ``hotkey``, with all weights on it and by it; for the network's supervisor.

        Raises NotFoundError when it is not registered, TemporaryError when the file stays locked.
        """
        await self._run(partial(self._store.deregister, hotkey))

    def seen_by(self, hotkey: PublicKey) -> LocalChain:
        """Return this chain as ``hotkey`` sees it, over the same open file; only the original is closed."""
        return LocalChain(self._store, self._worker, hotkey=hotkey, clock=self._clock)

    async def close(self) -> None:
        """Close the file and end the thread; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._run(self._store.close)
        finally:
            self._worker.shutdown(wait=False)

    def _own_hotkey(self) -> PublicKey:
        if self._hotkey is None:
            raise AuthError("this chain was opened by a reader, who has no hotkey")
        return self._hotkey

    def _block(self) -> int:
        passed = _microseconds(self._clock.now()) - self._genesis.genesis_microseconds
        # A clock set back to before genesis: block 0 has begun, for the file is there.
        return max(0, passed // self._genesis.block_microseconds)

    def _epoch(self) -> int:
        return self._block() // self._genesis.tempo_blocks

    def _begin_seconds(self, block: int) -> float:
        genesis = self._genesis
        return (genesis.genesis_microseconds + block * genesis.block_microseconds) / _MICROSECONDS

    async def _run(self, call: Callable[[], _Result]) -> _Result:
        """Run ``call`` in the store's thread; a cancelled caller leaves, its transaction ends either way."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)


@asynccontextmanager
async def open_local_chain(path: Path, *, hotkey: PublicKey | None, clock: Clock) -> AsyncIterator[LocalChain]:
    """Open the chain file at ``path`` as ``hotkey`` (None: a reader) for the duration of the block.

    Raises ConfigError when there is no chain or another version of hippy made it, TemporaryError when it
    stays locked.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hippy-chain")
    try:
        store = await asyncio.get_running_loop().run_in_executor(worker, LocalStore.open, path)
    except BaseException:
        worker.shutdown(wait=False)
        raise
    chain = LocalChain(store, worker, hotkey=hotkey, clock=clock)
    try:
        yield chain
    finally:
        await chain.close()


def _microseconds(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
