"""The directory: who counts as live, and that a stalled miner delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.chain.local import open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.transport.client import Peer, open_http
from hippy.validator.directory import MinerDirectory, weight_of
from hippy.validator.log import Home
from tests.validator.network import CLOCK, NETUID, NETWORK, VALIDATOR, WAIT_SECONDS, LocalNetwork, local_network

STALE_SECONDS = 60.0


class ShiftedClock(SystemClock):
    """The machine's clock and a shift that a test may change."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    async with local_network(tmp_path, miners=3) as network:
        yield network


@pytest.fixture
async def directory(network: LocalNetwork, clock: ShiftedClock) -> AsyncIterator[MinerDirectory]:
    async with (
        open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain,
        open_http(None, CLOCK) as http,
    ):
        home = Home(VALIDATOR, NETWORK, NETUID)
        yield MinerDirectory(http, chain, home, clock, probe_seconds=0.01, stale_seconds=STALE_SECONDS)


def peers(directory: MinerDirectory) -> list[Peer]:
    return [Peer(each.endpoint, each.hotkey) for each in directory.entries() if each.endpoint is not None]


async def greet_all(directory: MinerDirectory) -> list[bool]:
    await directory.refresh()
    return [await directory.is_there(peer) for peer in peers(directory)]


def states(directory: MinerDirectory) -> list[str]:
    return [entry.state for entry in directory.entries()]


async def test_miners_are_in_uid_order_without_the_validator(network: LocalNetwork, directory: MinerDirectory) -> None:
    assert await greet_all(directory) == [True, True, True]
    assert [entry.uid for entry in directory.entries()] == [1, 2, 3]
    assert [entry.hotkey for entry in directory.entries()] == [each.identity.public_key for each in network.miners]


async def test_a_miner_with_a_permit_is_a_miner_once_it_says_so(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    """Chains give permits to whoever earns, while fewer validators than places have stake."""
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        earner = network.miners[0].identity.public_key
        neuron = (await chain.metagraph()).by_hotkey(earner)
        assert neuron is not None
        assert neuron.endpoint is not None
        await chain.deregister(earner)
        await chain.register(earner, neuron.coldkey, validator_permit=True, stake_rao=1)
    await network.miners[0].publish(network.directory, neuron.endpoint)
    await directory.refresh()
    assert earner not in {entry.hotkey for entry in directory.entries()}  # it may be a validator for all we know
    assert await directory.is_there(Peer(neuron.endpoint, earner))
    assert {entry.hotkey: entry.state for entry in directory.entries()}[earner] == "live"


async def test_a_new_hotkey_on_a_uid_starts_unknown(network: LocalNetwork, directory: MinerDirectory) -> None:
    await greet_all(directory)
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        old = (await chain.metagraph()).neurons[1]
        await chain.deregister(old.hotkey)
        newcomer = VALIDATOR.from_seed(b"w" * 32).public_key
        assert await chain.register(newcomer, newcomer, validator_permit=False, stake_rao=0) == old.uid
    await directory.refresh()
    entry = next(entry for entry in directory.entries() if entry.uid == old.uid)
    assert (entry.hotkey, entry.state, entry.capacity_bytes) == (newcomer, "unpublished", 0)
    assert old.hotkey not in {each.hotkey for each in directory.entries()}


async def test_unknown_miner_is_unpublished_and_a_stranger_to_us_silent(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    await directory.refresh()
    assert states(directory) == ["silent"] * 3
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        hotkey = VALIDATOR.from_seed(b"u" * 32).public_key
        await chain.register(hotkey, hotkey, validator_permit=False, stake_rao=0)
    assert await greet_all(directory) == [True] * 3
    assert states(directory) == ["live", "live", "live", "unpublished"]


async def test_miner_is_live_while_its_handshake_is_fresh(directory: MinerDirectory, clock: ShiftedClock) -> None:
    await greet_all(directory)
    clock.shift = STALE_SECONDS - 5
    assert states(directory) == ["live"] * 3
    clock.shift = STALE_SECONDS + 5
    assert states(directory) == ["silent"] * 3
    assert directory.offers(1) == []


async def test_miner_that_failed_a_demanded_check_is_silent_until_it_answers(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    await greet_all(directory)
    (first, *_) = peers(directory)
    await network.miners[0].life.aclose()
    assert not await directory.is_there(first)
    assert states(directory) == ["silent", "live", "live"]
    await network.miners[0].start(network.directory)
    assert await greet_all(directory) == [True] * 3
    assert states(directory) == ["live"] * 3


async def test_handshake_at_an_old_endpoint_does_not_count(network: LocalNetwork, directory: MinerDirectory) -> None:
    await greet_all(directory)
    await network.miners[1].publish(network.directory, Endpoint("127.0.0.1", 9))
    await directory.refresh()
    assert states(directory) == ["live", "silent", "live"]


async def test_miner_that_moved_is_judged_by_its_new_endpoint(network: LocalNetwork, directory: MinerDirectory) -> None:
    await directory.refresh()
    (old, *_) = peers(directory)
    await network.miners[0].life.aclose()
    await network.miners[0].start(network.directory)
    assert await greet_all(directory) == [True] * 3
    assert not await directory.is_there(old)
    assert states(directory) == ["live"] * 3


async def test_answer_at_an_endpoint_left_behind_does_not_hide_the_new_one(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    await directory.refresh()
    (old, *_) = peers(directory)
    await network.miners[0].start(network.directory)
    assert await greet_all(directory) == [True] * 3
    assert await directory.is_there(old)
    assert states(directory) == ["live"] * 3


async def test_somebody_elses_endpoint_makes_nobody_live(network: LocalNetwork, directory: MinerDirectory) -> None:
    await directory.refresh()
    await network.miners[1].publish(network.directory, peers(directory)[0].endpoint)
    assert await greet_all(directory) == [True, False, True]


async def test_miner_that_left_the_subnet_is_not_there(network: LocalNetwork, directory: MinerDirectory) -> None:
    await greet_all(directory)
    (first, *_) = peers(directory)
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.deregister(first.hotkey)
    await directory.refresh()
    assert not await directory.is_there(first)
    assert len(directory.entries()) == 2


async def test_only_miners_with_room_are_offered(network: LocalNetwork, directory: MinerDirectory) -> None:
    network.miners[0].space = (3 * 2**30, 3 * 2**30 - 100)
    network.miners[1].space = (100, 200)
    await greet_all(directory)
    hotkeys = [each.identity.public_key for each in network.miners]
    assert {offer.candidate.hotkey for offer in directory.offers(100)} == {hotkeys[0], hotkeys[2]}
    assert {offer.candidate.hotkey for offer in directory.offers(101)} == {hotkeys[2]}
    assert {offer.candidate.weight for offer in directory.offers(1)} == {3, 1024}


async def test_stalled_miner_delays_nobody(network: LocalNetwork, directory: MinerDirectory) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    await network.miners[0].publish(network.directory, Endpoint(host, port))
    await directory.refresh()
    prober = asyncio.create_task(directory.run())
    async with asyncio.timeout(WAIT_SECONDS):
        while min(miner.greetings for miner in network.miners[1:]) < 3:  # noqa: ASYNC110 - real miners
            await asyncio.sleep(0.01)
    assert states(directory) == ["silent", "live", "live"]
    prober.cancel()
    with pytest.raises(asyncio.CancelledError):
        await prober
    server.close()


@pytest.mark.parametrize(("capacity", "weight"), [(0, 1), (2**30, 1), (5 * 2**30 + 1, 5), (2**60, 10_000)])
def test_weight_is_gibibytes_within_bounds(capacity: int, weight: int) -> None:
    assert weight_of(capacity) == weight


async def test_peer_is_where_a_registered_miner_says_it_listens(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    hotkey = network.miners[0].identity.public_key
    assert directory.peer(hotkey) is None  # nothing was read yet
    await directory.refresh()
    assert directory.peer(hotkey) == peers(directory)[0]
    assert directory.peer(VALIDATOR.from_seed(b"u" * 32).public_key) is None
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        silent = VALIDATOR.from_seed(b"u" * 32).public_key
        await chain.register(silent, silent, validator_permit=False, stake_rao=0)
        await chain.deregister(hotkey)
    await directory.refresh()
    assert directory.peer(silent) is None  # it says nothing
    assert directory.peer(hotkey) is None


async def test_one_handshake_is_remembered_with_its_time_and_how_long_it_took(
    directory: MinerDirectory, clock: ShiftedClock
) -> None:
    await directory.refresh()
    peer = peers(directory)[0]
    assert directory.seen_time(peer) is None
    assert directory.round_trip_seconds(peer) == 0.0
    before = int(clock.now())
    assert await directory.greet(peer)
    seen = directory.seen_time(peer)
    assert seen is not None
    assert before <= seen <= clock.now()
    assert 0 < directory.round_trip_seconds(peer) < WAIT_SECONDS
    clock.shift = 20
    assert directory.seen_time(peer) == seen
    assert await directory.greet(peer)
    assert (directory.seen_time(peer) or 0) >= seen + 20


async def test_the_last_handshake_is_remembered_of_a_miner_that_moved_or_left(
    network: LocalNetwork, directory: MinerDirectory, clock: ShiftedClock
) -> None:
    await greet_all(directory)
    mover, leaver = (miner.identity.public_key for miner in network.miners[:2])
    seen = [directory.last_seen_time(mover), directory.last_seen_time(leaver)]
    assert None not in seen
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.deregister(leaver)
    await network.miners[0].publish(network.directory, Endpoint("127.0.0.1", 1))
    clock.shift = 30.0
    assert await greet_all(directory) == [False, True]
    assert [directory.last_seen_time(mover), directory.last_seen_time(leaver)] == seen
    assert leaver not in directory.seen()


async def test_a_handshake_says_nothing_of_another_endpoint(network: LocalNetwork, directory: MinerDirectory) -> None:
    await directory.refresh()
    old = peers(directory)[0]
    assert await directory.greet(old)
    await network.miners[0].publish(network.directory, Endpoint("127.0.0.1", 9))
    await directory.refresh()
    new = directory.peer(old.hotkey)
    assert new is not None
    assert directory.seen_time(new) is None
    assert directory.round_trip_seconds(new) == 0.0


async def test_a_greeting_that_fails_changes_nothing(network: LocalNetwork, directory: MinerDirectory) -> None:
    """Only a check that a client demanded makes a miner silent at once."""
    await greet_all(directory)
    peer = peers(directory)[0]
    seen = directory.seen_time(peer)
    await network.miners[0].life.aclose()
    assert not await directory.greet(peer)
    assert directory.seen_time(peer) == seen
    assert directory.state(peer.hotkey) == "live"


async def test_the_state_of_a_hotkey_is_told_also_where_it_is_in_no_list(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    newcomer = VALIDATOR.from_seed(b"u" * 32).public_key
    earner = network.miners[0].identity.public_key
    assert directory.state(earner) == "unregistered"
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.register(newcomer, newcomer, validator_permit=False, stake_rao=0)
    await directory.refresh()
    assert directory.state(earner) == "silent"
    assert directory.state(newcomer) == "unpublished"
    await greet_all(directory)
    assert directory.state(earner) == "live"


async def test_a_miner_that_earned_a_permit_and_is_silent_is_not_said_to_be_unregistered(
    network: LocalNetwork, directory: MinerDirectory
) -> None:
    earner = VALIDATOR.from_seed(b"u" * 32).public_key
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.register(earner, earner, validator_permit=True, stake_rao=1)
    await directory.refresh()
    assert earner not in {entry.hotkey for entry in directory.entries()}
    assert directory.state(earner) == "unpublished"
