"""What LocalChain promises beyond the contract: time, the beacon's formula, threads and lifetimes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from hippy.chain.local import LocalChain, open_local_chain
from hippy.clock import SystemClock
from hippy.errors import ConfigError, UsageError
from hippy.hashing import keyed, u64
from hippy.ids import NetworkId
from hippy.testing.chain_contract import key
from hippy.testing.clock import START_SECONDS, VirtualClock

NETWORK, SECRET = NetworkId(b"n" * 32), b"s" * 32


def create(path: Path, clock: VirtualClock, *, block_seconds: float = 2.0, tempo_blocks: int = 5) -> Path:
    LocalChain.create(
        path,
        clock=clock,
        network=NETWORK,
        genesis_secret=SECRET,
        netuid=42,
        block_seconds=block_seconds,
        tempo_blocks=tempo_blocks,
    )
    return path


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def path(tmp_path: Path, clock: VirtualClock) -> Path:
    return create(tmp_path / "chain.sqlite", clock)


async def test_chain_has_the_values_it_was_created_with(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        assert (chain.network, chain.netuid, chain.is_local) == (NETWORK, 42, True)
        metagraph = await chain.metagraph()
        assert (metagraph.block, metagraph.tempo_blocks, metagraph.neurons) == (0, 5, ())


async def test_an_epoch_takes_the_time_of_its_blocks(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        assert await chain.epoch_seconds() == 10.0
        assert await chain.rounds_per_epoch() == 5


async def test_blocks_begin_exactly_on_time(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        for block in range(1, 50):
            await clock.advance(1.75)
            assert await chain.current_block() == block - 1
            await clock.advance(0.25)
            assert await chain.current_block() == block


async def test_rounds_are_blocks_and_beacons_follow_the_formula(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        await clock.advance(2 * 7)
        assert await chain.beacon_round() == 7
        assert [await chain.beacon(number) for number in range(8)] == [keyed(SECRET, u64(n)) for n in range(8)]


async def test_negative_round_is_refused(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        with pytest.raises(UsageError):
            await chain.beacon(-1)


async def test_clock_before_genesis_is_block_zero(path: Path) -> None:
    async with open_local_chain(path, hotkey=None, clock=VirtualClock(START_SECONDS - 100)) as chain:
        assert await chain.current_block() == 0


async def test_epoch_is_told_at_its_first_block(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        waiting = asyncio.create_task(chain.wait_for_epoch())
        await clock.advance(9.999)
        assert not waiting.done()
        await clock.advance(0.001)
        assert waiting.done()
        assert await waiting == 1
        assert await chain.current_block() == 5


@pytest.mark.parametrize("block_seconds", [0.1, 1 / 3, 0.001])
async def test_waiting_ends_for_blocks_of_any_length(tmp_path: Path, clock: VirtualClock, block_seconds: float) -> None:
    await clock.advance(0.123457)  # microseconds that binary fractions cannot hold
    path = create(tmp_path / "chain.sqlite", clock, block_seconds=block_seconds, tempo_blocks=7)
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        waiting = asyncio.create_task(chain.wait_for_epoch())
        await clock.advance(7 * block_seconds + 0.002)
        assert waiting.done()
        assert await waiting == await chain.current_block() // 7 == 1


async def test_suspended_process_wakes_in_the_epoch_it_is_in(path: Path) -> None:
    clock = LeapingClock()
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        assert await chain.wait_for_epoch() == 4


class LeapingClock:
    """A clock whose every sleep takes four epochs of ten seconds."""

    def __init__(self) -> None:
        self.seconds = START_SECONDS

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 10
        self.seconds += 40


async def test_registration_names_its_block(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        await clock.advance(2 * 3)
        await chain.register(key(1), key(2), validator_permit=True, stake_rao=9)
        (neuron,) = (await chain.metagraph()).neurons
        assert neuron.registered_block == 3


async def test_missing_chain_hints_at_net_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_local_chain(tmp_path / "none.sqlite", hotkey=None, clock=SystemClock()):
            pytest.fail("there is nothing to open")
    assert "hippy net up" in (caught.value.hint or "")


async def test_chain_is_not_created_twice(path: Path, clock: VirtualClock) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        create(path, clock)


async def test_closing_ends_the_thread_and_folds_the_log_in(path: Path, clock: VirtualClock) -> None:
    before = set(threading.enumerate())
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        await chain.register(key(1), key(2), validator_permit=False, stake_rao=0)
        (worker,) = set(threading.enumerate()) - before
    worker.join(timeout=5)
    assert not worker.is_alive()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_concurrent_calls_of_one_participant_all_succeed(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        calls = (chain.register(key(n), key(99), validator_permit=False, stake_rao=0) for n in range(20))
        assert sorted(await asyncio.gather(*calls)) == list(range(20))


async def test_cancelled_call_leaves_the_chain_usable(path: Path, clock: VirtualClock) -> None:
    async with open_local_chain(path, hotkey=None, clock=clock) as chain:
        call = asyncio.create_task(chain.register(key(1), key(2), validator_permit=False, stake_rao=0))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await chain.register(key(3), key(4), validator_permit=False, stake_rao=0) in (0, 1)
