"""What every Chain must do, as tests: subclass ChainContract and give it a ``world``.

A :class:`ChainWorld` is a subnet the tests may play god with: it registers and removes neurons, opens the
chain as any hotkey, and lets blocks pass. The contract asks only through the seam (hippy.chain.protocol)
and holds for every implementation and fake; what is particular to one is tested beside it.

::

    class TestMyChain(ChainContract):
        @pytest.fixture
        async def world(self) -> AsyncIterator[ChainWorld]:
            async with my_world() as world:
                yield world

Needs pytest-asyncio in auto mode. For failures that show their values, the outermost conftest.py calls
``pytest.register_assert_rewrite("hippy.testing")``.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import pytest

from hippy.chain.protocol import BeaconNotYet, Chain, Metagraph
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, UsageError
from hippy.ids import ID_BYTES, PublicKey

WAIT_SECONDS: Final = 10.0
"""Real seconds after which a wait that should be over has failed."""

WEIGHT_TOLERANCE: Final = 1e-3
"""Chains keep weights and incentives as 16-bit fractions."""

ROUNDS_TOLERANCE: Final = 0.1
"""An epoch's rounds are an estimate, but a block more or less in an epoch of five is noticed."""

STAKE_RAO: Final = 1_000 * 10**9


class ChainWorld(Protocol):
    """A subnet under a test's control."""

    async def register(self, hotkey: PublicKey, coldkey: PublicKey, *, validator_permit: bool, stake_rao: int) -> int:
        """Register a neuron on the smallest free uid and return the uid."""

    async def deregister(self, hotkey: PublicKey) -> None:
        """Remove a neuron, so that its uid is given to the next."""

    def chain(self, hotkey: PublicKey | None) -> AbstractAsyncContextManager[Chain]:
        """Open the subnet as ``hotkey``; None is a reader."""

    async def advance_blocks(self, count: int) -> None:
        """Let ``count`` blocks pass, waking who waits for them."""


def key(number: int) -> PublicKey:
    """Return a distinct 32-byte key for a small number from 0 on."""
    return PublicKey((number + 1).to_bytes(ID_BYTES, "big"))


async def add_miner(world: ChainWorld, number: int) -> int:
    """Register ``key(number)``, owned by ``key(100 + number)``, and return its uid."""
    return await world.register(key(number), key(100 + number), validator_permit=False, stake_rao=0)


async def add_validator(world: ChainWorld, number: int, stake_rao: int = STAKE_RAO) -> int:
    """Register ``key(number)`` with a validator permit and return its uid."""
    return await world.register(key(number), key(100 + number), validator_permit=True, stake_rao=stake_rao)


def incentives(metagraph: Metagraph) -> dict[int, float]:
    """Return the incentive of each uid."""
    return {neuron.uid: neuron.incentive for neuron in metagraph.neurons}


class ChainContract:
    """The tests. A subclass overrides the ``world`` fixture."""

    @pytest.fixture
    def world(self) -> ChainWorld:
        """Return a subnet without neurons."""
        raise NotImplementedError("a subclass of ChainContract has its own world fixture")

    async def test_empty_subnet_has_no_neurons(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            assert (await chain.metagraph()).neurons == ()

    async def test_registered_neuron_is_in_the_metagraph_as_registered(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            uid = await add_validator(world, 1, stake_rao=77)
            (neuron,) = (metagraph := await chain.metagraph()).neurons
            assert (neuron.uid, neuron.hotkey, neuron.coldkey) == (uid, key(1), key(101))
            assert (neuron.validator_permit, neuron.stake_rao, neuron.incentive) == (True, 77, 0.0)
            assert neuron.endpoint is None
            assert neuron.registered_block <= metagraph.block
            assert metagraph.by_hotkey(key(1)) == neuron
            assert metagraph.by_hotkey(key(2)) is None

    async def test_metagraph_is_in_uid_order(self, world: ChainWorld) -> None:
        for number in (5, 3, 9, 1):
            await add_miner(world, number)
        await world.deregister(key(3))
        await add_miner(world, 7)
        async with world.chain(None) as chain:
            uids = [neuron.uid for neuron in (await chain.metagraph()).neurons]
        assert uids == sorted(set(uids))
        assert len(uids) == 4

    async def test_participants_see_one_subnet(self, world: ChainWorld) -> None:
        await add_miner(world, 1)
        async with world.chain(key(1)) as one, world.chain(None) as two:
            assert (one.network, one.netuid, one.is_local) == (two.network, two.netuid, two.is_local)
            assert len(one.network) == ID_BYTES
            assert (await one.metagraph()).neurons == (await two.metagraph()).neurons

    async def test_unregistered_hotkey_cannot_publish(self, world: ChainWorld) -> None:
        async with world.chain(key(1)) as chain:
            with pytest.raises(AuthError):
                await chain.publish_endpoint(Endpoint("127.0.1.1", 4000))

    async def test_reader_can_neither_publish_nor_weigh(self, world: ChainWorld) -> None:
        uid = await add_miner(world, 1)
        async with world.chain(None) as chain:
            with pytest.raises(AuthError):
                await chain.publish_endpoint(Endpoint("127.0.1.1", 4000))
            with pytest.raises(AuthError):
                await chain.set_weights({uid: 1.0})

    @pytest.mark.parametrize("text", ["127.0.1.1:4000", "[2001:db8::7]:65535", "203.0.113.9:1"])
    async def test_published_endpoint_is_read_back_by_others(self, world: ChainWorld, text: str) -> None:
        await add_miner(world, 1)
        await add_miner(world, 2)
        async with world.chain(key(2)) as chain, world.chain(None) as reader:
            await chain.publish_endpoint(Endpoint.parse(text))
            endpoints = [neuron.endpoint for neuron in (await reader.metagraph()).neurons]
        assert endpoints == [None, Endpoint.parse(text)]

    async def test_last_published_endpoint_counts(self, world: ChainWorld) -> None:
        await add_miner(world, 1)
        async with world.chain(key(1)) as chain:
            for port in (4000, 4001):
                await chain.publish_endpoint(Endpoint("127.0.1.1", port))
            (neuron,) = (await chain.metagraph()).neurons
        assert neuron.endpoint == Endpoint("127.0.1.1", 4001)

    async def test_weights_of_the_only_validator_become_incentive(self, world: ChainWorld) -> None:
        validator, one, two = await add_validator(world, 0), await add_miner(world, 1), await add_miner(world, 2)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({one: 3.0, two: 1.0})
            await _pass_epoch(world, chain)
            found = incentives(await chain.metagraph())
        assert found == pytest.approx({validator: 0, one: 0.75, two: 0.25}, abs=WEIGHT_TOLERANCE)

    async def test_last_weights_replace_all_earlier_ones(self, world: ChainWorld) -> None:
        validator, one, two = await add_validator(world, 0), await add_miner(world, 1), await add_miner(world, 2)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({one: 1.0, two: 1.0})
            await _pass_epoch(world, chain)
            await chain.set_weights({two: 5.0})
            await _pass_epoch(world, chain)
            found = incentives(await chain.metagraph())
        assert found == pytest.approx({validator: 0, one: 0, two: 1}, abs=WEIGHT_TOLERANCE)

    async def test_weights_are_read_back_as_shares(self, world: ChainWorld) -> None:
        validator, one, two = await add_validator(world, 0), await add_miner(world, 1), await add_miner(world, 2)
        async with world.chain(key(0)) as chain, world.chain(None) as reader:
            await chain.set_weights({one: 3.0, two: 1.0, validator: 0.0})
            assert await reader.weights_of(validator) == pytest.approx({one: 0.75, two: 0.25}, abs=WEIGHT_TOLERANCE)
            await chain.set_weights({two: 5.0})
            assert await reader.weights_of(validator) == {two: 1.0}

    async def test_each_validators_weights_are_its_own(self, world: ChainWorld) -> None:
        validators = [await add_validator(world, number) for number in (0, 1)]
        miners = [await add_miner(world, number) for number in (2, 3)]
        for number in (0, 1):
            async with world.chain(key(number)) as chain:
                await chain.set_weights({miners[number]: 7.0})
        async with world.chain(None) as reader:
            assert [await reader.weights_of(uid) for uid in validators] == [{miners[0]: 1.0}, {miners[1]: 1.0}]

    async def test_who_never_weighed_has_no_weights(self, world: ChainWorld) -> None:
        validator, silent = await add_validator(world, 0), await add_validator(world, 1)
        miner = await add_miner(world, 2)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({miner: 1.0})
            assert await chain.weights_of(validator) == {miner: 1.0}
            for uid in (silent, miner, 200, 65_535, 65_536, -1, 2**64):
                assert await chain.weights_of(uid) == {}

    async def test_weights_of_a_lost_validator_are_not_its_successors(self, world: ChainWorld) -> None:
        uid, miner = await add_validator(world, 0), await add_miner(world, 1)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({miner: 1.0})
            await world.deregister(key(0))
            assert await add_validator(world, 2) == uid
            assert await chain.weights_of(uid) == {}

    async def test_weights_on_a_lost_miner_are_not_its_successors(self, world: ChainWorld) -> None:
        validator, one, two = await add_validator(world, 0), await add_miner(world, 1), await add_miner(world, 2)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({one: 3.0, two: 1.0})
            await world.deregister(key(1))
            assert await add_miner(world, 3) == one
            assert await chain.weights_of(validator) == {two: 1.0}

    async def test_minority_of_stake_cannot_raise_its_friend(self, world: ChainWorld) -> None:
        await add_validator(world, 0, stake_rao=60 * 10**9)
        await add_validator(world, 1, stake_rao=40 * 10**9)
        honest, friend = await add_miner(world, 2), await add_miner(world, 3)
        async with world.chain(key(0)) as majority, world.chain(key(1)) as minority:
            await majority.set_weights({honest: 1.0})
            await minority.set_weights({friend: 1.0})
            await _pass_epoch(world, majority)
            found = incentives(await majority.metagraph())
        assert (found[honest], found[friend]) == pytest.approx((1, 0), abs=WEIGHT_TOLERANCE)

    async def test_hotkey_without_permit_cannot_weigh(self, world: ChainWorld) -> None:
        uid = await add_miner(world, 1)
        async with world.chain(key(1)) as chain, world.chain(key(2)) as stranger:
            for unpermitted in (chain, stranger):
                with pytest.raises(AuthError):
                    await unpermitted.set_weights({uid: 1.0})
            await _pass_epoch(world, chain)
            assert incentives(await chain.metagraph()) == {uid: 0.0}

    @pytest.mark.parametrize(
        "weights",
        [
            {},
            {1: -0.5},
            {1: 1.0, 0: -1.0},
            {1: math.nan},
            {1: math.inf},
            {1: 0.0},
            {200: 1.0},
            {1: 1.0, 200: 1.0},
            {-1: 1.0},
        ],
    )
    async def test_meaningless_weights_are_refused_and_change_nothing(
        self, world: ChainWorld, weights: dict[int, float]
    ) -> None:
        assert (await add_validator(world, 0), await add_miner(world, 1)) == (0, 1)
        async with world.chain(key(0)) as chain:
            await chain.set_weights({1: 1.0})
            with pytest.raises(UsageError):
                await chain.set_weights(weights)
            await _pass_epoch(world, chain)
            assert incentives(await chain.metagraph())[1] == pytest.approx(1, abs=WEIGHT_TOLERANCE)

    async def test_reused_uid_starts_from_nothing(self, world: ChainWorld) -> None:
        await add_validator(world, 0)
        uid = await add_miner(world, 1)
        async with world.chain(key(0)) as validator, world.chain(key(1)) as miner:
            await miner.publish_endpoint(Endpoint("127.0.1.1", 4000))
            await validator.set_weights({uid: 1.0})
            await _pass_epoch(world, validator)
            old = (await validator.metagraph()).neurons[uid]
            await world.deregister(key(1))
            assert await add_miner(world, 2) == uid
            new = (await validator.metagraph()).neurons[uid]
        assert old.hotkey == key(1)
        assert old.incentive == pytest.approx(1, abs=WEIGHT_TOLERANCE)
        assert (new.hotkey, new.incentive, new.endpoint) == (key(2), 0.0, None)
        assert new.registered_block > old.registered_block

    async def test_deregistered_hotkey_can_no_longer_publish(self, world: ChainWorld) -> None:
        await add_miner(world, 1)
        await world.deregister(key(1))
        async with world.chain(key(1)) as chain:
            with pytest.raises(AuthError):
                await chain.publish_endpoint(Endpoint("127.0.1.1", 4000))

    async def test_blocks_pass_for_all_participants(self, world: ChainWorld) -> None:
        async with world.chain(key(1)) as one, world.chain(None) as two:
            before = await one.current_block()
            await world.advance_blocks(3)
            assert await one.current_block() == await two.current_block() >= before + 3
            assert (await two.metagraph()).block >= before + 3

    async def test_beacon_is_equal_for_all_and_differs_by_round(self, world: ChainWorld) -> None:
        async with world.chain(key(1)) as one, world.chain(None) as two:
            first_round = await one.beacon_round()
            first = await one.beacon(first_round)
            await world.advance_blocks(2)
            later = await two.beacon(await two.beacon_round())
            assert len(first) == len(later) == 32
            assert first == await two.beacon(first_round)
            assert first != later

    async def test_beacon_is_never_early(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            newest = await chain.beacon_round()
            future = newest + 2
            while newest < future:
                with pytest.raises(BeaconNotYet):
                    await chain.beacon(future)
                await world.advance_blocks(1)
                passed, newest = newest, await chain.beacon_round()
                assert newest > passed
            assert len(await chain.beacon(future)) == 32

    async def test_beacon_of_a_far_round_is_not_yet(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            for far in (10**9, 2**64, 10**30):
                with pytest.raises(BeaconNotYet):
                    await chain.beacon(await chain.beacon_round() + far)

    async def test_epochs_are_monotonic_and_end_on_their_first_block(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            tempo = (await chain.metagraph()).tempo_blocks
            ended = [await _epoch_after(world, chain) for _ in range(3)]
        (first, first_block), *_ = ended
        assert [epoch for epoch, _ in ended] == [first, first + 1, first + 2]
        assert [block - first_block for _, block in ended] == [0, tempo, 2 * tempo]

    async def test_the_epoch_that_was_waited_for_is_the_current_one(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            epoch, _ = await _epoch_after(world, chain)
            assert await chain.current_epoch() == epoch
            await world.advance_blocks((await chain.metagraph()).tempo_blocks - 1)
            assert await chain.current_epoch() == epoch

    async def test_an_epoch_has_about_as_many_rounds_as_it_is_said_to(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            epoch, _ = await _epoch_after(world, chain)
            first_round, rounds = await chain.beacon_round(), await chain.rounds_per_epoch()
            assert rounds >= 1
            while await chain.beacon_round() < first_round + rounds:
                assert await chain.current_epoch() == epoch
                await world.advance_blocks(1)
            assert await chain.current_epoch() == epoch + 1
            assert await chain.beacon_round() - first_round == pytest.approx(rounds, rel=ROUNDS_TOLERANCE)

    async def test_an_epoch_takes_time(self, world: ChainWorld) -> None:
        async with world.chain(key(1)) as one, world.chain(None) as two:
            assert await one.epoch_seconds() == await two.epoch_seconds() > 0

    async def test_participants_wait_for_the_same_epoch(self, world: ChainWorld) -> None:
        async with world.chain(key(1)) as one, world.chain(None) as two:
            waits = [asyncio.create_task(chain.wait_for_epoch()) for chain in (one, two)]
            await world.advance_blocks((await one.metagraph()).tempo_blocks)
            epochs = await asyncio.wait_for(asyncio.gather(*waits), WAIT_SECONDS)
        assert epochs[0] == epochs[1]

    async def test_closing_twice_is_closing_once(self, world: ChainWorld) -> None:
        async with world.chain(None) as chain:
            await chain.close()
            await chain.close()


async def _pass_epoch(world: ChainWorld, chain: Chain) -> None:
    """Let a chain that computes incentives once an epoch do so (twice a tempo: commit, then reveal)."""
    await world.advance_blocks(2 * (await chain.metagraph()).tempo_blocks)


async def _epoch_after(world: ChainWorld, chain: Chain) -> tuple[int, int]:
    """Wait for the next epoch, a block at a time; return its number and the block at which it was told."""
    waiting = asyncio.create_task(chain.wait_for_epoch())
    for _ in range((await chain.metagraph()).tempo_blocks):
        assert not waiting.done(), "the epoch was told early"
        await world.advance_blocks(1)
        if waiting.done():
            break
    return await asyncio.wait_for(waiting, WAIT_SECONDS), await chain.current_block()
