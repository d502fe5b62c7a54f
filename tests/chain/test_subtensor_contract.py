"""SubtensorChain keeps the contract of the chain seam, over the SDK and a chain in memory."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

pytest.importorskip("bittensor")

from hippy.chain.network import BittensorNetwork
from hippy.chain.subtensor_chain import SubtensorChain, open_subtensor_chain
from hippy.ids import PublicKey
from hippy.testing.chain_contract import ChainContract, ChainWorld
from hippy.testing.clock import VirtualClock
from hippy.testing.substrate import MemoryChain

LOOPBACK = BittensorNetwork("ws://127.0.0.1:9944", loopback=True)


@dataclass(frozen=True, slots=True)
class AnyHotkey:
    """A hotkey whose signatures nobody checks: the chain in memory believes the address."""

    public_key: PublicKey

    def sign(self, message: bytes) -> bytes:
        return bytes(64)


class MemoryWorld:
    """A chain in memory under the contract's control."""

    def __init__(self, memory: MemoryChain) -> None:
        self.memory = memory

    async def register(self, hotkey: PublicKey, coldkey: PublicKey, *, validator_permit: bool, stake_rao: int) -> int:
        return self.memory.register(hotkey, coldkey, permit=validator_permit, stake_rao=stake_rao)

    async def deregister(self, hotkey: PublicKey) -> None:
        self.memory.deregister(hotkey)

    def chain(self, hotkey: PublicKey | None) -> AbstractAsyncContextManager[SubtensorChain]:
        signer = None if hotkey is None else AnyHotkey(hotkey)
        return open_subtensor_chain(
            LOOPBACK, self.memory.netuid, signer=signer, clock=VirtualClock(), make_substrate=self.memory.substrate
        )

    async def advance_blocks(self, count: int) -> None:
        await self.memory.advance(count)


class TestSubtensorChain(ChainContract):
    @pytest.fixture
    async def world(self) -> ChainWorld:
        return MemoryWorld(MemoryChain())


class TestSubtensorChainWithoutPulses(ChainContract):
    @pytest.fixture
    async def world(self) -> ChainWorld:
        return MemoryWorld(MemoryChain(stores_pulses=False))


class TestSubtensorChainOfAnOldRuntime(ChainContract):
    @pytest.fixture
    async def world(self) -> ChainWorld:
        return MemoryWorld(MemoryChain(counts_epochs=False))
