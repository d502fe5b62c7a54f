"""ServedChain keeps the contract of the chain seam, over HTTP, before the keeper that real networks have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.network import PrivateNetwork
from hippy.chain.open import CHAIN_FILE
from hippy.chain.served import ServedChain, open_served_chain
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, UnreachableError
from hippy.identity import Identity, ss58_decode, ss58_encode
from hippy.ids import PublicKey
from hippy.net.keeper import KeeperRoutes, create_keeper, load_keeper
from hippy.testing.chain_contract import ChainContract, ChainWorld, key
from hippy.testing.clock import VirtualClock
from hippy.transport.server import Guard, build_app, serving
from hippy.wire.btauth import NonceWindow


@dataclass(frozen=True, slots=True)
class AnyHotkey:
    """A hotkey whose signatures this suite's keeper does not check: the contract's keys have no secret half."""

    public_key: PublicKey

    def sign(self, _: bytes) -> bytes:
        return bytes(64)

    @property
    def ss58(self) -> str:
        return ss58_encode(self.public_key)


class Believing:
    """Takes the sender of a request from its header."""

    def sender(self, request: web.Request, _: bytes) -> PublicKey:
        return ss58_decode(request.headers["X-Bittensor-Hotkey"])


class CountedChain(ServedChain):
    """Knows whether all its questions were answered, so that virtual time can wait for the answers."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.open_questions = 0
        self.is_answered = asyncio.Event()
        self.is_answered.set()

    async def _exchange(self, *call: Any) -> bytes:
        self.open_questions += 1
        self.is_answered.clear()
        try:
            return await super()._exchange(*call)
        finally:
            self.open_questions -= 1
            if not self.open_questions:
                self.is_answered.set()


class ServedWorld:
    """A keeper's directory in virtual time, and chains that ask the keeper."""

    def __init__(self, network: PrivateNetwork, clock: VirtualClock, supervisor: LocalChain) -> None:
        self.network = network
        self.clock = clock
        self.register = supervisor.register
        self.deregister = supervisor.deregister
        self.chains: list[CountedChain] = []

    @asynccontextmanager
    async def chain(self, hotkey: PublicKey | None) -> AsyncIterator[ServedChain]:
        identity: Any = None if hotkey is None else AnyHotkey(hotkey)
        async with aiohttp.ClientSession() as session:
            chain = CountedChain(session, self.network, identity, self.clock)
            await chain.meet()
            self.chains.append(chain)
            yield chain

    async def advance_blocks(self, count: int) -> None:
        for _ in range(count):
            await self.clock.advance(1)
            for chain in self.chains:
                await chain.is_answered.wait()
            await self.clock.advance(0)


@pytest.fixture
async def clock() -> VirtualClock:
    return VirtualClock()


class TestServedChain(ChainContract):
    @pytest.fixture
    async def world(self, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[ChainWorld]:
        keeper = create_keeper(tmp_path / "net", clock=clock, block_seconds=1, tempo_blocks=5)
        path = tmp_path / "net" / CHAIN_FILE
        async with open_local_chain(path, hotkey=None, clock=clock) as supervisor:
            routes = KeeperRoutes(load_keeper(tmp_path / "net"), supervisor, clock, Believing()).routes()
            async with serving(build_app(routes), "127.0.0.1", 0) as endpoint:
                yield ServedWorld(PrivateNetwork(endpoint, keeper), clock, supervisor)


@asynccontextmanager
async def kept(directory: Path, clock: VirtualClock) -> AsyncIterator[tuple[PrivateNetwork, LocalChain]]:
    """A keeper that checks signatures, as real ones do."""
    keeper = create_keeper(directory, clock=clock, block_seconds=1, tempo_blocks=5)
    path = directory / CHAIN_FILE
    guard = Guard(keeper, clock, NonceWindow())
    async with open_local_chain(path, hotkey=None, clock=clock) as supervisor:
        routes = KeeperRoutes(load_keeper(directory), supervisor, clock, guard).routes()
        async with serving(build_app(routes), "127.0.0.1", 0) as endpoint:
            yield PrivateNetwork(endpoint, keeper), supervisor


async def test_a_registered_hotkey_publishes_with_its_own_signature(tmp_path: Path, clock: VirtualClock) -> None:
    identity = Identity.from_seed(b"m" * 32)
    async with kept(tmp_path / "net", clock) as (network, supervisor):
        await supervisor.register(identity.public_key, key(9), validator_permit=False, stake_rao=0)
        async with open_served_chain(network, identity=identity, clock=clock) as chain:
            await chain.publish_endpoint(Endpoint("192.168.1.20", 4100))
            neuron = (await chain.metagraph()).by_hotkey(identity.public_key)
    assert neuron is not None
    assert neuron.endpoint == Endpoint("192.168.1.20", 4100)


async def test_nobody_publishes_for_another_hotkey(tmp_path: Path, clock: VirtualClock) -> None:
    mine, theirs = Identity.from_seed(b"m" * 32), Identity.from_seed(b"t" * 32)
    async with kept(tmp_path / "net", clock) as (network, supervisor):
        await supervisor.register(theirs.public_key, key(9), validator_permit=False, stake_rao=0)
        claimed: Any = AnyHotkey(theirs.public_key)
        for identity in (mine, claimed):
            async with open_served_chain(network, identity=identity, clock=clock) as chain:
                with pytest.raises(AuthError):
                    await chain.publish_endpoint(Endpoint("192.168.1.20", 4100))


async def test_an_answer_that_the_keeper_did_not_sign_is_refused(tmp_path: Path, clock: VirtualClock) -> None:
    async with kept(tmp_path / "net", clock) as (network, _):
        other = PrivateNetwork(network.endpoint, Identity.from_seed(b"x" * 32).public_key)
        with pytest.raises(AuthError):
            async with open_served_chain(other, identity=None, clock=clock):
                pass


async def test_a_keeper_that_is_away_is_unreachable(clock: VirtualClock) -> None:
    network = PrivateNetwork(Endpoint("127.0.0.1", 1), Identity.from_seed(b"x" * 32).public_key)
    with pytest.raises(UnreachableError) as raised:
        async with open_served_chain(network, identity=None, clock=clock):
            pass
    assert "hippy chain serve" in str(raised.value.hint)
