"""A cached chain asks once an epoch, and old answers tide over outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from hippy.chain.cached import (
    FRESH_SECONDS,
    PATIENCE_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    TIP_SECONDS,
    CachedChain,
    open_cached,
)
from hippy.chain.protocol import BeaconNotYet, Metagraph
from hippy.endpoint import Endpoint
from hippy.errors import TemporaryError
from hippy.ids import NetworkId
from hippy.testing.clock import VirtualClock

NETWORK = NetworkId(b"n" * 32)
BLOCK_SECONDS = 12.0
TEMPO_BLOCKS = 10
EPOCH_SECONDS = TEMPO_BLOCKS * BLOCK_SECONDS


@dataclass
class CountingChain:
    """A chain that counts what it is asked and can be away."""

    clock: VirtualClock
    away: bool = False
    stuck: bool = False
    broken: bool = False
    takes_seconds: float = 0.0
    asked: dict[str, int] = field(default_factory=dict)
    network: NetworkId = NETWORK
    netuid: int = 7
    is_local: bool = True
    started: float = field(init=False)
    published: list[Endpoint] = field(default_factory=list)
    weights: list[Mapping[int, float]] = field(default_factory=list)
    tempo_blocks: int = TEMPO_BLOCKS

    def __post_init__(self) -> None:
        self.started = self.clock.now()

    def _block(self, what: str) -> int:
        self.asked[what] = self.asked.get(what, 0) + 1
        if self.away:
            raise TemporaryError("away")
        return int((self.clock.now() - self.started) // BLOCK_SECONDS)

    async def metagraph(self) -> Metagraph:
        if self.takes_seconds:
            await self.clock.sleep(self.takes_seconds)
        return Metagraph(self._block("metagraph"), TEMPO_BLOCKS, ())

    async def current_block(self) -> int:
        return self._block("block")

    async def current_epoch(self) -> int:
        return self._block("epoch") // TEMPO_BLOCKS

    async def epoch_seconds(self) -> float:
        self._block("epoch seconds")
        return self.tempo_blocks * BLOCK_SECONDS

    async def beacon_round(self) -> int:
        return self._block("round")

    async def rounds_per_epoch(self) -> int:
        self._block("rounds per epoch")
        return self.tempo_blocks

    async def beacon(self, round_number: int) -> bytes:
        if round_number > self._block("beacon"):
            raise BeaconNotYet
        return bytes([round_number % 256]) * 32

    async def wait_for_epoch(self) -> int:
        if self.stuck:
            await self.clock.sleep(float("inf"))
        if self.broken:
            raise AttributeError("a mistake of ours")
        epoch = self._block("wait") // TEMPO_BLOCKS + 1
        await self.clock.sleep(self.started + epoch * EPOCH_SECONDS - self.clock.now())
        return epoch

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        self.published.append(endpoint)

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        self.weights.append(weights)

    async def weights_of(self, uid: int) -> dict[int, float]:
        return {uid: 1.0, **self.weights[-1]}

    async def close(self) -> None:
        self.asked["close"] = self.asked.get("close", 0) + 1


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def chain(clock: VirtualClock) -> CountingChain:
    return CountingChain(clock)


@pytest.fixture
async def cached(chain: CountingChain, clock: VirtualClock) -> AsyncIterator[CachedChain]:
    async with open_cached(chain, clock) as cached:
        yield cached


async def test_the_metagraph_is_read_once_an_epoch(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    for _ in range(TEMPO_BLOCKS):
        assert (await cached.metagraph()).block == 0
        await clock.advance(BLOCK_SECONDS - 0.001)
    assert chain.asked["metagraph"] == 1
    await clock.advance(BLOCK_SECONDS)
    assert (await cached.metagraph()).block == TEMPO_BLOCKS
    assert chain.asked["metagraph"] == 2


async def test_who_waited_for_an_epoch_sees_its_metagraph(cached: CachedChain, clock: VirtualClock) -> None:
    await cached.metagraph()
    await clock.advance(EPOCH_SECONDS - 1)
    assert await cached.current_epoch() == 0
    await clock.advance(1)
    assert await cached.current_epoch() == 1
    assert (await cached.metagraph()).block == TEMPO_BLOCKS


async def test_an_outage_is_tided_over_for_a_while(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    await cached.metagraph()
    chain.away = True
    await clock.advance(EPOCH_SECONDS)
    for _ in range(5):
        assert (await cached.metagraph()).block == 0
    assert chain.asked["metagraph"] == 2  # not with every question
    await clock.advance(STALE_SECONDS - EPOCH_SECONDS - 1)
    assert (await cached.metagraph()).block == 0
    await clock.advance(1)
    with pytest.raises(TemporaryError, match="too old"):
        await cached.metagraph()
    chain.away = False
    await clock.advance(RETRY_SECONDS)
    assert (await cached.metagraph()).block > TEMPO_BLOCKS


async def test_without_any_answer_the_first_question_fails(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    chain.away = True
    with pytest.raises(TemporaryError):
        await cached.metagraph()
    with pytest.raises(TemporaryError):
        await cached.metagraph()
    assert chain.asked["metagraph"] == 1
    chain.away = False
    await clock.advance(RETRY_SECONDS)
    await cached.metagraph()


async def test_a_chain_that_stops_telling_of_epochs_is_asked_all_the_same(clock: VirtualClock) -> None:
    chain = CountingChain(clock, stuck=True)
    async with open_cached(chain, clock) as cached:
        await cached.metagraph()
        await clock.advance(FRESH_SECONDS - 1)
        assert (await cached.metagraph()).block == 0
        await clock.advance(1)
        assert (await cached.metagraph()).block == FRESH_SECONDS // BLOCK_SECONDS


async def test_our_own_endpoint_makes_the_metagraph_old(cached: CachedChain, chain: CountingChain) -> None:
    await cached.metagraph()
    await cached.publish_endpoint(Endpoint("127.0.1.1", 1))
    await cached.metagraph()
    assert chain.asked["metagraph"] == 2
    assert chain.published == [Endpoint("127.0.1.1", 1)]


async def test_block_epoch_and_round_may_be_three_seconds_old(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    asks = {"block": cached.current_block, "epoch": cached.current_epoch, "round": cached.beacon_round}
    for name, ask in asks.items():
        before = chain.asked.get(name, 0)
        first = await ask()
        assert await ask() == first
        assert chain.asked[name] == before + 1
    await clock.advance(TIP_SECONDS)
    for name, ask in asks.items():
        before = chain.asked[name]
        await ask()
        assert chain.asked[name] == before + 1


async def test_the_length_of_an_epoch_is_read_once_an_epoch(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    for tempo_blocks in (TEMPO_BLOCKS, 7):
        for _ in range(TEMPO_BLOCKS):
            assert await cached.rounds_per_epoch() == tempo_blocks
            assert await cached.epoch_seconds() == tempo_blocks * BLOCK_SECONDS
            chain.tempo_blocks = 7
            await clock.advance(BLOCK_SECONDS)
    assert (chain.asked["rounds per epoch"], chain.asked["epoch seconds"]) == (2, 2)


async def test_the_length_of_an_epoch_is_not_kept_for_ever(clock: VirtualClock) -> None:
    chain = CountingChain(clock, stuck=True)
    async with open_cached(chain, clock) as cached:
        asks = (cached.rounds_per_epoch, cached.epoch_seconds)
        assert [await ask() for ask in asks] == [TEMPO_BLOCKS, EPOCH_SECONDS]
        chain.tempo_blocks = 7
        await clock.advance(FRESH_SECONDS - 1)
        assert [await ask() for ask in asks] == [TEMPO_BLOCKS, EPOCH_SECONDS]
        await clock.advance(1)
        assert [await ask() for ask in asks] == [7, 7 * BLOCK_SECONDS]


async def test_a_round_is_asked_once_but_one_to_come_again(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    with pytest.raises(BeaconNotYet):
        await cached.beacon(1)
    await clock.advance(BLOCK_SECONDS)
    assert await cached.beacon(1) == await cached.beacon(1) == b"\1" * 32
    assert chain.asked["beacon"] == 2


async def test_weights_writes_and_facts_go_straight_through(cached: CachedChain, chain: CountingChain) -> None:
    for weight in (1.0, 2.0):
        await cached.set_weights({1: weight})
        assert await cached.weights_of(9) == {9: 1.0, 1: weight}
    assert chain.weights == [{1: 1.0}, {1: 2.0}]
    assert (cached.network, cached.netuid, cached.is_local) == (chain.network, 7, True)
    await cached.close()
    assert chain.asked["close"] == 1


async def test_whoever_gives_up_waiting_does_not_make_the_old_answer_new(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    await cached.metagraph()
    await clock.advance(EPOCH_SECONDS)
    chain.takes_seconds = 4.0
    waiting = asyncio.create_task(cached.metagraph())
    await clock.advance(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await clock.advance(3)  # the read went on without them
    chain.takes_seconds = 0.0
    assert (await cached.metagraph()).block == TEMPO_BLOCKS
    assert chain.asked["metagraph"] == 2


async def test_a_chain_that_hangs_does_not_make_those_hang_who_have_an_answer(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    await cached.metagraph()
    await clock.advance(EPOCH_SECONDS)
    chain.takes_seconds = 600.0
    waiting = [asyncio.create_task(cached.metagraph()) for _ in range(3)]
    await clock.advance(PATIENCE_SECONDS)
    assert {(await each).block for each in waiting} == {0}
    assert chain.asked["metagraph"] == 1  # the second is still under way


async def test_whoever_asks_while_a_chain_hangs_for_long_does_not_wait_at_all(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    await cached.metagraph()
    await clock.advance(EPOCH_SECONDS)
    chain.takes_seconds = 600.0
    first = asyncio.create_task(cached.metagraph())
    await clock.advance(PATIENCE_SECONDS)
    assert (await first).block == 0
    asked = clock.now()
    async with asyncio.timeout(5):
        assert (await cached.metagraph()).block == 0
    assert clock.now() == asked


async def test_an_epoch_that_begins_during_a_read_makes_its_answer_old(
    cached: CachedChain, chain: CountingChain, clock: VirtualClock
) -> None:
    await clock.advance(EPOCH_SECONDS - 1)
    chain.takes_seconds = 2.0
    waiting = asyncio.create_task(cached.metagraph())
    await clock.advance(2)
    await waiting
    chain.takes_seconds = 0.0
    await cached.metagraph()
    assert chain.asked["metagraph"] == 2


async def test_watching_goes_on_after_a_mistake(clock: VirtualClock) -> None:
    chain = CountingChain(clock, broken=True)
    async with open_cached(chain, clock) as cached:
        await cached.metagraph()
        await clock.advance(RETRY_SECONDS)
        chain.broken = False
        await clock.advance(2 * EPOCH_SECONDS)
        assert (await cached.metagraph()).block >= 2 * TEMPO_BLOCKS
