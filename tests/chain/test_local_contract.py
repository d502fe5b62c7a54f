"""LocalChain keeps the contract of the chain seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hippy.chain.local import LocalChain, open_local_chain
from hippy.ids import NetworkId, PublicKey
from hippy.testing.chain_contract import ChainContract, ChainWorld
from hippy.testing.clock import VirtualClock


class LocalWorld:
    """A local chain file in virtual time."""

    def __init__(self, path: Path, clock: VirtualClock, supervisor: LocalChain) -> None:
        self.path = path
        self.clock = clock
        self.register = supervisor.register
        self.deregister = supervisor.deregister

    def chain(self, hotkey: PublicKey | None) -> AbstractAsyncContextManager[LocalChain]:
        return open_local_chain(self.path, hotkey=hotkey, clock=self.clock)

    async def advance_blocks(self, count: int) -> None:
        for _ in range(count):
            await self.clock.advance(1)


class TestLocalChain(ChainContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[ChainWorld]:
        path, clock = tmp_path / "chain.sqlite", VirtualClock()
        LocalChain.create(path, clock=clock, network=NetworkId(b"n" * 32), genesis_secret=b"s" * 32, tempo_blocks=5)
        async with open_local_chain(path, hotkey=None, clock=clock) as supervisor:
            yield LocalWorld(path, clock, supervisor)
