"""What SubtensorChain promises beyond the contract: what exactly is sent, doubts about it, and broken connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bittensor_core
import pytest

pytest.importorskip("bittensor")

from hippy.chain.fate import LOOKUP_BLOCKS
from hippy.chain.network import BittensorNetwork
from hippy.chain.subtensor import FINNEY_GENESIS, open_subtensor, sdk_substrate
from hippy.chain.subtensor_chain import SubtensorChain, open_subtensor_chain
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, ProtocolError, RateLimitedError, TemporaryError, UsageError
from hippy.identity import Identity
from hippy.testing.chain_contract import key
from hippy.testing.clock import VirtualClock
from hippy.testing.substrate import Fault, MemoryChain, MemorySubstrate

LOOPBACK = BittensorNetwork("ws://127.0.0.1:9944", loopback=True)
REMOTE = BittensorNetwork("wss://chain.example:443", loopback=False)
HOTKEY = Identity.from_seed(b"\x05" * 32)
HERE = Endpoint("127.0.3.4", 4100)


class BlockClock(VirtualClock):
    """Time in which a chain in memory makes a block whenever somebody sleeps."""

    def __init__(self, memory: MemoryChain) -> None:
        super().__init__()
        self.memory = memory

    async def sleep(self, seconds: float) -> None:
        await self.memory.advance(1)


@pytest.fixture
def memory() -> MemoryChain:
    memory = MemoryChain()
    memory.register(HOTKEY.public_key, key(100), permit=True, stake_rao=10**12)
    for number in (1, 2, 3):
        memory.register(key(number), key(100 + number), permit=False, stake_rao=0)
    return memory


@asynccontextmanager
async def opened(memory: MemoryChain, clock: Clock | None = None) -> AsyncIterator[SubtensorChain]:
    async with open_subtensor_chain(
        LOOPBACK,
        memory.netuid,
        signer=HOTKEY,
        clock=clock or BlockClock(memory),
        make_substrate=memory.substrate,
    ) as chain:
        yield chain


async def test_plain_weights_are_sent_as_16_bit_shares_of_the_largest(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        await chain.set_weights({1: 0.5, 3: 0.25, 2: 0.0})
    ((call, signer),) = memory.submitted
    assert signer == HOTKEY.ss58
    assert (call.module, call.function) == ("SubtensorModule", "set_mechanism_weights")
    assert call.params == {
        "netuid": 7,
        "mecid": 0,
        "dests": [1, 3],
        "weights": [65_535, 32_768],
        "version_key": 0,
    }


async def test_timelocked_weights_are_committed_sealed(memory: MemoryChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sealed cannot be opened before its round, so it is compared on its way into the seal."""
    sealed: list[dict[str, Any]] = []
    seal = bittensor_core.get_encrypted_commit_v2

    def watched(**content: Any) -> Any:
        sealed.append(content)
        return seal(**content)

    monkeypatch.setattr(bittensor_core, "get_encrypted_commit_v2", watched)
    memory.commit_reveal = True
    async with opened(memory) as chain:
        await chain.set_weights({1: 0.5, 3: 0.25})
    (content,) = sealed
    assert (content["uids"], content["weights"], content["version_key"]) == ([1, 3], [65_535, 32_768], 0)
    assert (content["hotkey"], content["tempo"]) == (HOTKEY.public_key, memory.tempo)
    ((call, signer),) = memory.submitted
    assert signer == HOTKEY.ss58
    assert (call.module, call.function) == ("SubtensorModule", "commit_timelocked_mechanism_weights")
    commit = bytes(call.params.pop("commit"))
    reveal_round = call.params.pop("reveal_round")
    assert call.params == {"netuid": 7, "mecid": 0, "commit_reveal_version": 4}
    assert len(commit) > 100
    assert bytes(HOTKEY.public_key) not in commit
    assert reveal_round > 20_000_000  # drand's quicknet, some time after 2025


async def test_weights_that_are_not_revealed_yet_are_not_shown(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        await chain.set_weights({1: 1.0})
        memory.commit_reveal = True
        await chain.set_weights({2: 1.0})
        assert await chain.weights_of(0) == {1: 1.0}


async def test_shares_are_those_of_the_chains_16_bit_weights(memory: MemoryChain) -> None:
    memory.neuron(0).weights = {1: 65_535, 2: 0, 3: 21_845}
    async with opened(memory) as chain:
        assert await chain.weights_of(0) == {1: 0.75, 3: 0.25}


async def test_weights_that_the_chain_cannot_mean_are_a_protocol_error(memory: MemoryChain) -> None:
    class Garbled(MemorySubstrate):
        async def query(self, module: str, item: str, params: Any = None, block_hash: str | None = None) -> Any:
            return [1, 2] if item == "Weights" else await super().query(module, item, params, block_hash)

    async with open_subtensor_chain(
        LOOPBACK, 7, signer=None, clock=VirtualClock(), make_substrate=lambda: Garbled(memory)
    ) as chain:
        with pytest.raises(ProtocolError, match="pairs of integers"):
            await chain.weights_of(0)


@pytest.mark.parametrize(
    ("stores_pulses", "counts_epochs", "rounds"), [(True, True, 1_440), (True, False, 1_444), (False, True, 360)]
)
async def test_an_epoch_has_a_round_per_block_or_per_three_seconds(
    stores_pulses: bool, counts_epochs: bool, rounds: int
) -> None:
    memory = MemoryChain(tempo=360, stores_pulses=stores_pulses, counts_epochs=counts_epochs)
    async with opened(memory) as chain:
        assert await chain.rounds_per_epoch() == rounds
        assert await chain.epoch_seconds() == (4_320 if counts_epochs else 4_332)
        assert (await chain.metagraph()).tempo_blocks * 12 == await chain.epoch_seconds()


async def test_an_epoch_shorter_than_a_round_has_one(memory: MemoryChain) -> None:
    class Fast(MemorySubstrate):
        async def block_time(self) -> float:
            return 0.25

    async with open_subtensor_chain(
        LOOPBACK, 7, signer=None, clock=VirtualClock(), make_substrate=lambda: Fast(memory)
    ) as chain:
        assert await chain.epoch_seconds() == 1.25
        assert await chain.rounds_per_epoch() == 1


async def test_a_hotkey_without_permit_commits_nothing_though_the_chain_would_take_it(memory: MemoryChain) -> None:
    memory.commit_reveal = True
    memory.neuron(0).permit = False
    async with opened(memory) as chain:
        with pytest.raises(AuthError, match="no validator permit"):
            await chain.set_weights({1: 1.0})
    assert memory.submitted == []


async def test_an_endpoint_is_sent_as_the_chain_keeps_addresses(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        await chain.publish_endpoint(HERE)
        await chain.publish_endpoint(Endpoint("2001:db8::7", 1))
    (first, _), (second, _) = memory.submitted
    assert (first.module, first.function) == ("SubtensorModule", "serve_axon")
    assert first.params == {
        "netuid": 7,
        "version": 1,
        "ip": 0x7F000304,
        "port": 4100,
        "ip_type": 4,
        "protocol": 4,
        "placeholder1": 0,
        "placeholder2": 0,
    }
    assert (second.params["ip"], second.params["ip_type"]) == (0x20010DB8000000000000000000000007, 6)


async def test_an_endpoint_that_is_shown_already_is_not_sent_again(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        await chain.publish_endpoint(HERE)
        await chain.publish_endpoint(HERE)
    assert len(memory.submitted) == 1


async def test_the_chains_rate_limits_are_told(memory: MemoryChain) -> None:
    memory.weights_rate_limit = memory.serving_rate_limit = 50
    async with opened(memory) as chain:
        await chain.set_weights({1: 1.0})
        with pytest.raises(RateLimitedError, match="50 blocks"):
            await chain.set_weights({2: 1.0})
        await chain.publish_endpoint(HERE)
        with pytest.raises(RateLimitedError):
            await chain.publish_endpoint(Endpoint("127.0.3.4", 4101))


async def test_an_address_that_the_chain_refuses_is_a_usage_error(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        with pytest.raises(UsageError):
            await chain.publish_endpoint(Endpoint("127.0.0.1", 4100))


async def test_what_was_done_but_not_heard_of_is_looked_up_and_not_sent_again(memory: MemoryChain) -> None:
    memory.faults.extend([Fault.DONE_BUT_RATE_LIMITED, Fault.DONE_BUT_UNTOLD])
    async with opened(memory) as chain:
        await chain.set_weights({1: 1.0})
        await chain.publish_endpoint(HERE)
        assert (await chain.metagraph()).neurons[0].endpoint == HERE
    assert len(memory.submitted) == 2


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REFUSED_WITHOUT_REASON, Fault.USURPED])
async def test_what_never_arrived_is_told_once_it_can_no_longer_arrive(memory: MemoryChain, fault: Fault) -> None:
    memory.faults.append(fault)
    async with opened(memory) as chain:
        before = memory.block
        with pytest.raises(TemporaryError, match="did not include"):
            await chain.set_weights({1: 1.0})
        assert memory.block > before + LOOKUP_BLOCKS
        assert memory.submitted == []
        await chain.set_weights({1: 1.0})
    assert len(memory.submitted) == 1


async def test_a_chain_that_stays_away_leaves_the_doubt_and_says_so(memory: MemoryChain) -> None:
    class LeavingClock(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            memory.reachable = False
            await asyncio.sleep(0)

    memory.faults.append(Fault.LOST)
    async with opened(memory, LeavingClock()) as chain:
        with pytest.raises(TemporaryError, match="nobody can say"):
            await chain.set_weights({1: 1.0})


async def test_a_broken_connection_is_temporary_and_made_again(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        connections = memory.connections
        memory.reachable = False
        for ask in (chain.metagraph, chain.current_block, chain.beacon_round, chain.current_epoch):
            with pytest.raises(TemporaryError, match="does not answer"):
                await ask()
        memory.reachable = True
        assert len((await chain.metagraph()).neurons) == 4
        assert memory.connections == connections + 1


async def test_waiting_for_an_epoch_survives_a_broken_connection(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        epoch = await chain.current_epoch()
        waiting = asyncio.create_task(chain.wait_for_epoch())
        await memory.advance(1)
        memory.reachable = False
        await memory.advance(1)
        memory.reachable = True
        await memory.advance(memory.tempo)
        assert await asyncio.wait_for(waiting, 10) > epoch


async def test_a_subnet_that_is_not_there_is_a_mistake_in_the_settings(memory: MemoryChain) -> None:
    with pytest.raises(ConfigError, match="no subnet 8"):
        async with open_subtensor_chain(
            LOOPBACK, 8, signer=None, clock=VirtualClock(), make_substrate=memory.substrate
        ):
            pass


async def test_a_chain_out_of_reach_cannot_be_opened(memory: MemoryChain) -> None:
    memory.reachable = False
    with pytest.raises(TemporaryError, match="connection refused"):
        async with opened(memory):
            pass


async def test_a_missed_round_has_the_randomness_of_the_next(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        newest = await chain.beacon_round()
        missed = newest - newest % 7
        if missed == newest:
            missed -= 7
        assert await chain.beacon(missed) == await chain.beacon(missed + 1)


async def test_a_round_that_the_chain_no_longer_keeps_is_temporary(memory: MemoryChain) -> None:
    class Forgetful(MemoryChain):
        def _pulse(self, round_number: int) -> None:
            return None

    async with opened(Forgetful()) as chain:
        with pytest.raises(TemporaryError, match="keeps no beacon near round 5"):
            await chain.beacon(5)


async def test_a_neuron_with_a_key_that_nobody_holds_is_left_out(memory: MemoryChain) -> None:
    memory.deregister(key(2))
    async with opened(memory) as chain:
        assert [neuron.uid for neuron in (await chain.metagraph()).neurons] == [0, 1, 3]


async def test_an_endpoint_that_cannot_be_meant_is_none(memory: MemoryChain) -> None:
    memory.neuron(1).axon = {"ip": 0x7F000101, "port": 0, "ip_type": 4}
    async with opened(memory) as chain:
        assert (await chain.metagraph()).neurons[1].endpoint is None


class InstantClock(VirtualClock):
    """Time in which nobody waits and nothing passes."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("ahead_seconds", [-5, 0, 5])
async def test_a_clock_that_agrees_with_the_newest_block_is_fine(memory: MemoryChain, ahead_seconds: float) -> None:
    clock = InstantClock()
    memory.now_seconds = lambda: clock.now() - ahead_seconds
    async with open_subtensor_chain(REMOTE, 7, signer=None, clock=clock, make_substrate=memory.substrate) as chain:
        assert not chain.is_local


async def test_a_newest_block_that_is_old_is_asked_for_until_one_is_new(memory: MemoryChain) -> None:
    clock, ages = InstantClock(), [11, 7, 3]
    memory.now_seconds = lambda: clock.now() - ages.pop(0)
    async with open_subtensor_chain(REMOTE, 7, signer=None, clock=clock, make_substrate=memory.substrate):
        pass


@pytest.mark.parametrize("ahead_seconds", [-6, 6, 86_400])
async def test_a_wrong_clock_is_told_at_the_start(memory: MemoryChain, ahead_seconds: float) -> None:
    clock = InstantClock()
    memory.now_seconds = lambda: clock.now() - ahead_seconds
    with pytest.raises(ConfigError, match=f"{abs(ahead_seconds)} s apart"):
        async with open_subtensor_chain(REMOTE, 7, signer=None, clock=clock, make_substrate=memory.substrate):
            pass
    async with opened(memory, clock):
        pass  # a chain on this machine may have any time


@pytest.mark.parametrize("network", ["finney", "test"])
def test_public_networks_are_reached_by_name_with_the_sdks_fallbacks(network: str) -> None:
    substrate = sdk_substrate(network, None)
    assert substrate.endpoint.startswith("wss://")
    assert substrate.endpoint not in substrate.fallback_endpoints
    assert sdk_substrate(network, []).fallback_endpoints == []


def test_fallbacks_of_our_own_replace_the_sdks() -> None:
    substrate = sdk_substrate("ws://127.0.0.1:1", ["ws://127.0.0.1:2", "ws://127.0.0.1:1"])
    assert (substrate.endpoint, substrate.fallback_endpoints) == ("ws://127.0.0.1:1", ["ws://127.0.0.1:2"])


async def test_a_node_of_mainnet_on_this_machine_is_mainnet(memory: MemoryChain) -> None:
    class Mainnet(MemorySubstrate):
        async def block_hash(self, block: int | None = None) -> str:
            return f"0x{FINNEY_GENESIS.hex()}" if block == 0 else await super().block_hash(block)

    clock = VirtualClock()
    memory.now_seconds = clock.now
    async with open_subtensor_chain(
        LOOPBACK, 7, signer=None, clock=clock, make_substrate=lambda: Mainnet(memory)
    ) as chain:
        assert not chain.is_local


async def test_a_deleted_round_never_answers_with_another(memory: MemoryChain) -> None:
    async with opened(memory) as chain:
        newest = await chain.beacon_round()
        memory.oldest_round = newest - 10
        assert len(await chain.beacon(newest - 9)) == 32
        with pytest.raises(TemporaryError, match="no longer keeps"):
            await chain.beacon(newest - 11)


async def test_a_uid_that_went_to_another_hotkey_is_no_proof_of_our_weights(memory: MemoryChain) -> None:
    class EvictingClock(BlockClock):
        async def sleep(self, seconds: float) -> None:
            if memory.neuron(0).hotkey == HOTKEY.public_key:
                memory.deregister(HOTKEY.public_key)
                memory.register(key(50), key(150), permit=True, stake_rao=1)
                memory.neuron(0).last_update = memory.block
            await super().sleep(seconds)

    memory.faults.append(Fault.LOST)
    async with opened(memory, EvictingClock(memory)) as chain:
        with pytest.raises(TemporaryError, match="did not include"):
            await chain.set_weights({1: 1.0})


async def test_a_node_of_another_chain_is_not_believed(memory: MemoryChain) -> None:
    """A fallback endpoint may belong to another chain."""

    class Elsewhere(MemorySubstrate):
        async def block_hash(self, block: int | None = None) -> str:
            return f"0x{'ee' * 32}" if block == 0 and elsewhere else await super().block_hash(block)

    elsewhere = False
    async with open_subtensor_chain(
        LOOPBACK, 7, signer=None, clock=VirtualClock(), make_substrate=lambda: Elsewhere(memory)
    ) as chain:
        await chain.metagraph()
        elsewhere = True
        with pytest.raises(TemporaryError, match="another chain"):
            await chain.metagraph()


async def test_a_loopback_chain_with_fallbacks_elsewhere_is_not_local(memory: MemoryChain) -> None:
    clock = VirtualClock()
    memory.now_seconds = clock.now
    for fallbacks, local in (([], True), (["ws://127.0.0.1:2"], True), (["wss://chain.example"], False)):
        async with open_subtensor_chain(
            LOOPBACK,
            7,
            signer=None,
            clock=clock,
            fallback_endpoints=fallbacks,
            make_substrate=memory.substrate,
        ) as chain:
            assert chain.is_local is local


async def test_a_connection_that_is_never_made_is_closed_when_it_is(memory: MemoryChain) -> None:
    made, closed = asyncio.Event(), []

    class Slow(MemorySubstrate):
        async def connect(self) -> None:
            await made.wait()
            await super().connect()

        async def close(self) -> None:
            closed.append(self)
            await super().close()

    async with open_subtensor(LOOPBACK, make_substrate=lambda: Slow(memory)) as subtensor:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subtensor.block_number(), 0.01)
        assert closed == []
        made.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(closed) == 1


async def test_a_question_keeps_its_connection_while_another_drops_it(memory: MemoryChain) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Pausing(MemorySubstrate):
        async def block_hash(self, block: int | None = None) -> str:
            asked.set()
            await go_on.wait()
            return await super().block_hash(block)

    async with open_subtensor(LOOPBACK, make_substrate=lambda: Pausing(memory)) as subtensor:
        asking = asyncio.create_task(subtensor.query("SubtensorModule", "Tempo", [7], block=1_000))
        await asked.wait()
        memory.reachable = False
        with pytest.raises(TemporaryError):
            await subtensor.block_number()
        go_on.set()
        with pytest.raises(TemporaryError):
            await asking
