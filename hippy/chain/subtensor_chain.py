"""SubtensorChain: one subnet of a Bittensor chain behind the chain seam.

It owns what the seam's words mean there: which runtimes number epochs, which beacon the network has, who may set
weights, and the rule for writes: a transaction of unknown fate is looked up until it can no longer be included, and
never sent twice. The SDK is hippy.chain.subtensor's, keeping answers hippy.chain.cached's.

Invariants: weights are only sent for a hotkey whose validator permit the chain shows, because a chain that hides
weights until they are revealed accepts anybody's; an endpoint that is shown already is not sent again (the chain
limits how often).

Example::

    async with open_subtensor_chain(parse_network("finney"), 64, signer=identity, clock=SystemClock()) as chain:
        await chain.publish_endpoint(Endpoint("203.0.113.9", 4100))
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from hippy.chain.beacon import Beacon, BlockBeacon, PulseBeacon
from hippy.chain.fate import look_up
from hippy.chain.network import BittensorNetwork, parse_network
from hippy.chain.protocol import Metagraph, Neuron
from hippy.chain.scale import int_pairs
from hippy.chain.subtensor import FINNEY_GENESIS, DoubtError, MakeSubstrate, Prepared, Signer, Subtensor, open_subtensor
from hippy.chain.weights import UID_MAX, check_weights, normalised
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, TemporaryError, UsageError
from hippy.identity import ss58_encode
from hippy.ids import NetworkId, PublicKey

log = logging.getLogger("hippy.chain")

CLOCK_SECONDS_MAX: Final = 5.0
"""How far our clock may be off: half of what a request lives."""

CLOCK_LOOKS: Final = 7
"""Thrice a block's time, so over more than two blocks."""

STALL_BLOCKS: Final = 20
"""A stream that tells of no block for this many blocks' time is given up."""

_SUBTENSOR: Final = "SubtensorModule"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a subnet for as long as a process runs."""

    network: NetworkId
    netuid: int
    block_seconds: float
    counts_epochs: bool
    """Whether the runtime numbers epochs; before that they ran where a formula said."""

    has_pulses: bool


@asynccontextmanager
async def open_subtensor_chain(
    network: BittensorNetwork,
    netuid: int,
    *,
    signer: Signer | None,
    clock: Clock,
    fallback_endpoints: Sequence[str] | None = None,
    make_substrate: MakeSubstrate | None = None,
) -> AsyncIterator[SubtensorChain]:
    """Connect and read what does not change; ``signer`` None is a reader.

    Raises TemporaryError when no endpoint answers, ConfigError when there is no such subnet or our clock is wrong.
    """
    async with open_subtensor(
        network, fallback_endpoints=fallback_endpoints, make_substrate=make_substrate
    ) as subtensor:
        facts = await _read_facts(subtensor, netuid)
        local = _is_local(network, fallback_endpoints or ()) and facts.network != FINNEY_GENESIS
        if not local:  # a development chain may have any time it likes
            await _check_clock(subtensor, facts.block_seconds, clock)
        yield SubtensorChain(subtensor, facts, signer=signer, clock=clock, local=local)


async def _read_facts(subtensor: Subtensor, netuid: int) -> Facts:
    if await subtensor.metagraph(netuid) is None:
        raise ConfigError(f"this chain has no subnet {netuid}", hint="is netuid right, and the network?")
    return Facts(
        network=NetworkId(await subtensor.block_hash(0)),
        netuid=netuid,
        block_seconds=await subtensor.block_seconds(),
        counts_epochs=await _find(subtensor, _SUBTENSOR, "SubnetEpochIndex", [netuid]) is not None,
        has_pulses=bool(await _find(subtensor, "Drand", "LastStoredRound", [])),
    )


def _is_local(network: BittensorNetwork, fallback_endpoints: Sequence[str]) -> bool:
    """Whether every way to the chain ends on this machine; a node of mainnet that runs here is another question."""
    ways = (network, *(parse_network(url) for url in fallback_endpoints))
    return all(isinstance(way, BittensorNetwork) and way.loopback for way in ways)


async def _check_clock(subtensor: Subtensor, block_seconds: float, clock: Clock) -> None:
    """Compare our clock with the times of new blocks.

    Requests are good for ten seconds (PROTOCOL §1), so a wrong clock locks a node out without a word. The newest block
    is up to a block's time old, so some are looked at, and the smallest difference counts. Raises ConfigError.
    """
    closest_seconds = float("inf")
    for _ in range(CLOCK_LOOKS):
        milliseconds = await subtensor.query("Timestamp", "Now")
        ahead_seconds = clock.now() - int(milliseconds) / 1000
        closest_seconds = min(closest_seconds, ahead_seconds, key=abs)
        if abs(closest_seconds) <= CLOCK_SECONDS_MAX:
            return
        await clock.sleep(block_seconds / 3)
    raise ConfigError(
        f"this machine's clock and the chain's newest block are {abs(closest_seconds):.0f} s apart",
        hint="synchronise the clock (NTP); if it is right, the endpoint's node lags behind: name another",
    )


async def _find(subtensor: Subtensor, pallet: str, item: str, params: Sequence[int]) -> object:
    """Return a storage item's value, None where the runtime has no such item."""
    try:
        return await subtensor.query(pallet, item, params)
    except NotImplementedError:
        return None


class SubtensorChain:
    """A :class:`hippy.chain.protocol.Chain`; made by :func:`open_subtensor_chain`."""

    def __init__(self, subtensor: Subtensor, facts: Facts, *, signer: Signer | None, clock: Clock, local: bool) -> None:
        self._subtensor = subtensor
        self._facts = facts
        self._signer = signer
        self._clock = clock
        self._local = local
        self._beacon: Beacon = PulseBeacon(subtensor) if facts.has_pulses else BlockBeacon(subtensor)

    @property
    def network(self) -> NetworkId:
        """The chain's genesis hash."""
        return self._facts.network

    @property
    def netuid(self) -> int:
        """The subnet's number."""
        return self._facts.netuid

    @property
    def is_local(self) -> bool:
        """Whether the chain is a development chain on this machine, so that private addresses are fine."""
        return self._local

    async def metagraph(self) -> Metagraph:
        """Return the metagraph as it is now.

        Raises TemporaryError when the chain does not answer, ConfigError when the subnet is gone.
        """
        if await self._subtensor.block_hash(0) != self.network:  # a fallback may lead anywhere
            await self._subtensor.close()
            raise TemporaryError("the chain's endpoint answers for another chain", hint="check fallback_endpoints")
        found = await self._subtensor.metagraph(self.netuid)
        if found is None:
            raise ConfigError(f"this chain no longer has a subnet {self.netuid}")
        return replace(found, tempo_blocks=self._epoch_blocks(found.tempo_blocks))

    async def current_block(self) -> int:
        """Return the newest block number."""
        return await self._subtensor.block_number()

    async def current_epoch(self) -> int:
        """Return the number of the epoch that the newest block is in."""
        return await self._epoch_at(await self.current_block())

    async def epoch_seconds(self) -> float:
        """Return how long an epoch takes, about."""
        return await self._blocks_per_epoch() * self._facts.block_seconds

    async def wait_for_epoch(self) -> int:
        """Return the number of the next epoch (or a later one, after a pause) once its first block is there."""
        current = await self.current_epoch()
        while True:
            try:
                async for block in self._subtensor.blocks(STALL_BLOCKS * self._facts.block_seconds):
                    epoch = await self._epoch_at(block)
                    if epoch > current:
                        return epoch
            except TemporaryError as error:
                log.warning("while waiting for an epoch: %s", error)
            await self._clock.sleep(self._facts.block_seconds)

    async def beacon(self, round_number: int) -> bytes:
        """Return the 32 random bytes of a round.

        Raises BeaconNotYet while the round lies in the future, UsageError for a negative one.
        """
        return await self._beacon.at(round_number)

    async def beacon_round(self) -> int:
        """Return the newest round whose beacon is known."""
        return await self._beacon.newest()

    async def rounds_per_epoch(self) -> int:
        """Return how many beacon rounds an epoch has, about, and at least 1."""
        return max(1, self._beacon.rounds_in(await self._blocks_per_epoch(), self._facts.block_seconds))

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the address of our hotkey.

        Raises AuthError when the hotkey is not registered, RateLimitedError when the chain says so.
        """

        async def is_shown() -> bool:
            return self._ours(await self.metagraph()).endpoint == endpoint

        if not await is_shown():
            prepared = await self._subtensor.prepare_endpoint(self.netuid, endpoint, self._hotkey())
            await self._write("publishing the endpoint", prepared, is_shown)

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """Set our weights, uid → non-negative weight; what is timelocked counts from its reveal on.

        Raises AuthError without a validator permit, UsageError for no positive entry or a negative or foreign one,
        RateLimitedError when the chain says so.
        """
        check_weights(weights)
        metagraph = await self.metagraph()
        ours = self._ours(metagraph)
        if not ours.validator_permit:
            raise AuthError(f"the hotkey {self._address()} has no validator permit on subnet {self.netuid}")
        foreign = sorted(weights.keys() - {neuron.uid for neuron in metagraph.neurons})
        if foreign:
            raise UsageError(f"uid {foreign[0]} is not registered on subnet {self.netuid}")
        before = await self._last_update(ours.uid)

        async def is_set() -> bool:
            return await self._uid() == ours.uid and await self._last_update(ours.uid) > before

        prepared = await self._subtensor.prepare_weights(self.netuid, weights, self._hotkey())
        await self._write("setting weights", prepared, is_set)

    async def weights_of(self, uid: int) -> dict[int, float]:
        """Return the weights that a validator has on chain now, uid → share of 1; empty when it has none.

        Old runtimes may keep one on a uid that has passed to another neuron, though they no longer count it. Raises
        TemporaryError when the chain does not answer.
        """
        if not 0 <= uid <= UID_MAX:
            return {}
        # The map's first key is the mechanism's index, which is the netuid for mechanism 0, the one we set weights of.
        return normalised(int_pairs(await self._subtensor.query(_SUBTENSOR, "Weights", [self.netuid, uid])))

    async def close(self) -> None:
        """Let go of the connection; a second time does nothing."""
        await self._subtensor.close()

    def _hotkey(self) -> Signer:
        if self._signer is None:
            raise AuthError("a reader of the chain has no hotkey to sign with")
        return self._signer

    def _address(self) -> str:
        return ss58_encode(self._hotkey().public_key)

    def _ours(self, metagraph: Metagraph) -> Neuron:
        neuron = metagraph.by_hotkey(PublicKey(self._hotkey().public_key))
        if neuron is None:
            raise AuthError(
                f"the hotkey {self._address()} is not registered on subnet {self.netuid}", hint="register it first"
            )
        return neuron

    async def _uid(self) -> int | None:
        """Return the uid that our hotkey has now."""
        uid = await self._subtensor.query(_SUBTENSOR, "Uids", [self.netuid, self._address()])
        return None if uid is None else int(uid)

    async def _last_update(self, uid: int) -> int:
        """Return the block in which a neuron last set or committed weights."""
        blocks = await self._subtensor.query(_SUBTENSOR, "LastUpdate", [self.netuid])
        return int(blocks[uid]) if blocks and uid < len(blocks) else 0

    async def _epoch_at(self, block: int) -> int:
        if self._facts.counts_epochs:
            return int(await self._subtensor.query(_SUBTENSOR, "SubnetEpochIndex", [self.netuid], block=block))
        # Before subtensor counted them, an epoch ran in every block where this division leaves nothing.
        return (block + self.netuid + 1) // await self._blocks_per_epoch(block)

    async def _blocks_per_epoch(self, block: int | None = None) -> int:
        """Return how many blocks an epoch has, now or as of a block."""
        return self._epoch_blocks(int(await self._subtensor.query(_SUBTENSOR, "Tempo", [self.netuid], block=block)))

    def _epoch_blocks(self, tempo: int) -> int:
        """Return how many blocks an epoch has under a tempo: one more where the runtime does not count epochs."""
        return tempo if self._facts.counts_epochs else tempo + 1

    async def _write(self, what: str, prepared: Prepared, is_done: Callable[[], Awaitable[bool]]) -> None:
        """Send a transaction once; where its fate is in doubt, look what became of it."""
        sent_at = await self.current_block()
        try:
            await self._subtensor.send(prepared)
        except DoubtError as doubt:
            log.warning("%s: %s; looking whether it was done", what, doubt)
            await look_up(what, self._subtensor, sent_at, is_done, self._clock)
