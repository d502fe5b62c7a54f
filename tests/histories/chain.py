"""A chain that stands still: a fixed metagraph, blocks and beacon by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from hippy.chain.protocol import BeaconNotYet, Metagraph, Neuron
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.hashing import digest, u64
from hippy.ids import NetworkId, PublicKey
from hippy.testing.clock import START_SECONDS

NETWORK = NetworkId(b"n" * 32)
NETUID = 7
BLOCK_SECONDS = 1.0
TEMPO_BLOCKS = 20
EPOCH_SECONDS = BLOCK_SECONDS * TEMPO_BLOCKS


class StillChain:
    """A hippy.chain.protocol.Chain whose neurons neither come nor go."""

    network = NETWORK
    netuid = NETUID
    is_local = True

    def __init__(self, neurons: Sequence[Neuron], clock: Clock) -> None:
        self._neurons = tuple(neurons)
        self._clock = clock

    async def metagraph(self) -> Metagraph:
        """See Chain."""
        return Metagraph(block=await self.current_block(), tempo_blocks=TEMPO_BLOCKS, neurons=self._neurons)

    async def current_block(self) -> int:
        """See Chain."""
        return int((self._clock.now() - START_SECONDS) / BLOCK_SECONDS)

    async def current_epoch(self) -> int:
        """See Chain."""
        return await self.current_block() // TEMPO_BLOCKS

    async def epoch_seconds(self) -> float:
        """See Chain."""
        return EPOCH_SECONDS

    async def beacon(self, round_number: int) -> bytes:
        """See Chain."""
        if round_number > await self.current_block():
            raise BeaconNotYet
        return digest(b"beacon" + u64(round_number))

    async def beacon_round(self) -> int:
        """See Chain."""
        return await self.current_block()

    async def rounds_per_epoch(self) -> int:
        """See Chain."""
        return TEMPO_BLOCKS

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Endpoints are where the neurons say."""

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """Nobody looks at them here."""

    async def weights_of(self, uid: int) -> dict[int, float]:
        """See Chain."""
        return {}

    async def wait_for_epoch(self) -> int:
        """See Chain."""
        await asyncio.sleep(EPOCH_SECONDS)
        return await self.current_epoch()

    async def close(self) -> None:
        """There is nothing to close."""


def neuron(uid: int, hotkey: PublicKey, endpoint: Endpoint | None, *, permit: bool = False) -> Neuron:
    """Return a neuron with a coldkey of its own."""
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=PublicKey(digest(b"cold" + hotkey)),
        endpoint=endpoint,
        validator_permit=permit,
        stake_rao=10**12 if permit else 0,
        registered_block=0,
        incentive=0.0,
    )
