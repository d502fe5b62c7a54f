"""How old an answer about permits may be, and how often the chain is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hippy.chain.protocol import Chain, Metagraph
from hippy.errors import TemporaryError
from hippy.miner.permits import Permits
from hippy.testing.clock import VirtualClock
from tests.miner.world import MINER, OTHER, VALIDATOR, World


class CountingChain:
    """The real chain, with a count of questions and switches that make it slow or fail."""

    def __init__(self, chain: Chain, clock: VirtualClock) -> None:
        self._chain = chain
        self._clock = clock
        self.asked = 0
        self.takes_seconds = 0.0
        self.is_down = False

    async def metagraph(self) -> Metagraph:
        self.asked += 1
        if self.takes_seconds:
            await self._clock.sleep(self.takes_seconds)
        if self.is_down:
            raise TemporaryError("the chain is down")
        return await self._chain.metagraph()


@pytest.fixture
def chain(world: World) -> CountingChain:
    return CountingChain(world.chain, world.clock)


@pytest.fixture
def permits(world: World, chain: Any) -> Permits:
    return Permits(chain, world.clock, stake_min_rao=9)


async def test_validator_has_a_permit_and_a_miner_or_stranger_has_none(permits: Permits) -> None:
    assert await permits.has(VALIDATOR.public_key)
    assert not await permits.has(MINER.public_key)
    assert not await permits.has(OTHER.public_key)


async def test_answer_is_believed_for_half_a_minute(permits: Permits, world: World, chain: CountingChain) -> None:
    await permits.has(VALIDATOR.public_key)
    await world.chain.deregister(VALIDATOR.public_key)
    await world.clock.advance(29)
    assert await permits.has(VALIDATOR.public_key)
    assert chain.asked == 1
    await world.clock.advance(1)
    assert not await permits.has(VALIDATOR.public_key)


async def test_new_validator_is_found_at_the_next_question(permits: Permits, world: World) -> None:
    assert not await permits.has(OTHER.public_key)
    await world.chain.register(OTHER.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    assert not await permits.has(OTHER.public_key)
    await world.clock.advance(1)
    assert await permits.has(OTHER.public_key)


async def test_a_permit_without_enough_stake_does_not_count(permits: Permits, world: World) -> None:
    """A chain gives permits to miners that earned a little, and who may issue tickets may fill disks."""
    await world.chain.register(OTHER.public_key, OTHER.public_key, validator_permit=True, stake_rao=8)
    await world.clock.advance(1)
    assert not await permits.has(OTHER.public_key)


async def test_strangers_make_us_ask_once_a_second(permits: Permits, world: World, chain: CountingChain) -> None:
    for _ in range(3):
        await asyncio.gather(*(permits.has(OTHER.public_key) for _ in range(20)))
        await world.clock.advance(1)
    assert chain.asked == 3


async def test_those_who_wait_for_a_slow_answer_share_it(permits: Permits, world: World, chain: CountingChain) -> None:
    chain.takes_seconds = 2.0
    waiting = [asyncio.create_task(permits.has(VALIDATOR.public_key)) for _ in range(5)]
    await world.clock.advance(2)
    chain.takes_seconds = 0.0
    assert await asyncio.gather(*waiting) == [True] * 5
    assert chain.asked == 1


async def test_fresh_answer_outlives_a_failing_chain(permits: Permits, world: World, chain: CountingChain) -> None:
    await permits.has(VALIDATOR.public_key)
    chain.is_down = True
    await world.clock.advance(5)
    assert not await permits.has(OTHER.public_key)
    assert await permits.has(VALIDATOR.public_key)


async def test_old_answer_is_not_used_when_the_chain_fails(
    permits: Permits, world: World, chain: CountingChain
) -> None:
    await permits.has(VALIDATOR.public_key)
    chain.is_down = True
    await world.clock.advance(30)
    for _ in range(3):
        with pytest.raises(TemporaryError):
            await permits.has(VALIDATOR.public_key)
    assert chain.asked == 2
    chain.is_down = False
    await world.clock.advance(1)
    assert await permits.has(VALIDATOR.public_key)
