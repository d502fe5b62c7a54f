"""A hotkey is registered once, by the coldkey that pays."""

from __future__ import annotations

import pytest

pytest.importorskip("bittensor")

from hippy.chain.network import BittensorNetwork
from hippy.chain.registration import register, registration_cost_rao
from hippy.chain.subtensor import open_subtensor
from hippy.errors import ConfigError, ConflictError
from hippy.identity import Identity
from hippy.testing.clock import VirtualClock
from hippy.testing.substrate import BURN_RAO, Fault, MemoryChain

LOOPBACK = BittensorNetwork("ws://127.0.0.1:9944", loopback=True)
HOTKEY, COLDKEY = (Identity.from_seed(bytes([seed]) * 32) for seed in (1, 2))


async def test_a_hotkey_gets_a_uid_and_its_coldkey_pays() -> None:
    memory = MemoryChain()
    async with open_subtensor(LOOPBACK, make_substrate=memory.substrate) as subtensor:
        assert await registration_cost_rao(subtensor, 7) == BURN_RAO
        uid = await register(subtensor, 7, HOTKEY.public_key, COLDKEY, VirtualClock(), cost_max_rao=BURN_RAO)
    neuron = memory.neuron(uid)
    assert (neuron.hotkey, neuron.coldkey, neuron.permit) == (HOTKEY.public_key, COLDKEY.public_key, False)
    ((call, signer),) = memory.submitted
    assert (call.function, call.params) == ("burned_register", {"netuid": 7, "hotkey": HOTKEY.ss58})
    assert signer == COLDKEY.ss58


async def test_a_registration_that_was_done_but_not_heard_of_is_not_paid_twice() -> None:
    memory = MemoryChain()
    memory.faults.append(Fault.DONE_BUT_UNTOLD)
    async with open_subtensor(LOOPBACK, make_substrate=memory.substrate) as subtensor:
        assert await register(subtensor, 7, HOTKEY.public_key, COLDKEY, VirtualClock(), cost_max_rao=BURN_RAO) == 0
    assert len(memory.submitted) == 1


async def test_a_registered_hotkey_is_not_registered_again() -> None:
    memory = MemoryChain()
    memory.register(HOTKEY.public_key, COLDKEY.public_key, permit=False, stake_rao=0)
    async with open_subtensor(LOOPBACK, make_substrate=memory.substrate) as subtensor:
        with pytest.raises(ConflictError, match="uid 0"):
            await register(subtensor, 7, HOTKEY.public_key, COLDKEY, VirtualClock(), cost_max_rao=BURN_RAO)
    assert memory.submitted == []


async def test_a_subnet_that_is_not_there_has_no_price() -> None:
    async with open_subtensor(LOOPBACK, make_substrate=MemoryChain().substrate) as subtensor:
        with pytest.raises(ConfigError, match="no subnet 8"):
            await registration_cost_rao(subtensor, 8)


async def test_a_price_that_rose_is_not_paid() -> None:
    memory = MemoryChain()
    async with open_subtensor(LOOPBACK, make_substrate=memory.substrate) as subtensor:
        with pytest.raises(ConflictError, match="more than"):
            await register(subtensor, 7, HOTKEY.public_key, COLDKEY, VirtualClock(), cost_max_rao=BURN_RAO - 1)
    assert memory.submitted == []
