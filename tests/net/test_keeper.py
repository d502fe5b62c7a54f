"""A keeper before strangers, restarts and wrong clocks. A chain it is too: tests/chain/test_served_contract.py."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hippy.chain.cached import STALE_SECONDS, open_cached
from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.local_store import LocalStore
from hippy.chain.network import PrivateNetwork
from hippy.chain.open import CHAIN_FILE
from hippy.chain.served import SKEW_SECONDS_MAX, open_served_chain
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, HippyError, TemporaryError
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.net.keeper import KeeperRoutes, create_keeper, load_keeper
from hippy.testing.chain_contract import key
from hippy.testing.clock import VirtualClock
from hippy.transport.server import Guard, Route, build_app, serving
from hippy.wire.btauth import NonceWindow, SignedRequest, sign_request

NODE, OTHER = Identity.from_seed(b"n" * 32), Identity.from_seed(b"o" * 32)
HOME, ELSEWHERE = Endpoint("192.168.1.20", 4100), Endpoint("192.168.1.66", 4100)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def directory(tmp_path: Path, clock: VirtualClock) -> Path:
    create_keeper(tmp_path / "net", clock=clock, block_seconds=1, tempo_blocks=5)
    return tmp_path / "net"


@asynccontextmanager
async def keeping(directory: Path, clock: VirtualClock) -> AsyncIterator[tuple[PrivateNetwork, LocalChain]]:
    """A keeper that has just started, and the chain as it has it open."""
    keeper = load_keeper(directory)
    async with open_local_chain(directory / CHAIN_FILE, hotkey=None, clock=clock) as chain:
        guard = Guard(PublicKey(keeper.public_key), clock, NonceWindow())
        app = build_app(KeeperRoutes(keeper, chain, clock, guard).routes())
        async with serving(app, "127.0.0.1", 0) as endpoint:
            yield PrivateNetwork(endpoint, PublicKey(keeper.public_key)), chain


async def register(chain: LocalChain, identity: Identity, *, permit: bool = False) -> int:
    return await chain.register(identity.public_key, key(9), validator_permit=permit, stake_rao=int(permit))


class Calls:
    """Counts calls of a method and passes them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> None:
        self.count = 0
        original = getattr(holder, name)

        def counted(*args: Any, **named: Any) -> Any:
            self.count += 1
            return original(*args, **named)

        monkeypatch.setattr(holder, name, counted)


async def test_questions_about_a_chain_that_has_not_changed_read_no_neurons(
    directory: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(directory, clock) as (network, chain):
        await register(chain, NODE)
        reads = Calls(monkeypatch, LocalStore, "_read_neurons")
        async with open_served_chain(network, identity=None, clock=clock) as asking:
            for _ in range(5):
                assert len((await asking.metagraph()).neurons) == 1
        assert reads.count == 1


async def test_whoever_is_admitted_beside_the_keeper_is_served_at_once(directory: Path, clock: VirtualClock) -> None:
    async with (
        keeping(directory, clock) as (network, _),
        open_local_chain(directory / CHAIN_FILE, hotkey=None, clock=clock) as beside,
        open_served_chain(network, identity=NODE, clock=clock) as node,
    ):
        assert (await node.metagraph()).neurons == ()
        await register(beside, NODE)
        assert (await node.metagraph()).by_hotkey(NODE.public_key) is not None
        await node.publish_endpoint(HOME)
        neuron = (await node.metagraph()).by_hotkey(NODE.public_key)
        assert neuron is not None
        assert neuron.endpoint == HOME
        await beside.deregister(NODE.public_key)
        assert (await node.metagraph()).neurons == ()


async def test_a_write_of_somebody_unregistered_opens_nothing_and_changes_nothing(
    directory: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(directory, clock) as (network, chain):
        await register(chain, NODE)
        opened = Calls(monkeypatch, LocalStore, "open")
        async with open_served_chain(network, identity=OTHER, clock=clock) as stranger:
            with pytest.raises(AuthError):
                await stranger.publish_endpoint(ELSEWHERE)
            with pytest.raises(AuthError):
                await stranger.set_weights({0: 1.0})
        assert opened.count == 0
        (neuron,) = (await chain.metagraph()).neurons
        assert (neuron.hotkey, neuron.endpoint) == (NODE.public_key, None)


def signed(network: PrivateNetwork, clock: VirtualClock, body: dict[str, object]) -> tuple[bytes, dict[str, str]]:
    """Return a write of NODE's, as anybody on the way could have kept it."""
    raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    target = "/v1/chain/weights" if "shares" in body else "/v1/chain/endpoint"
    request = SignedRequest("POST", target, raw)
    return raw, sign_request(NODE, request, receiver=network.keeper, now_ns=int(clock.now() * 1e9))


async def post(network: PrivateNetwork, path: str, sent: tuple[bytes, dict[str, str]]) -> tuple[int, str | None]:
    """Return the status, and the code of an error."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{network.endpoint.url}/v1/chain/{path}", data=sent[0], headers=sent[1]) as answer,
    ):
        return answer.status, (await answer.json()).get("error", {}).get("code")


async def test_a_write_is_not_taken_twice_and_not_by_a_keeper_that_started_since(
    directory: Path, clock: VirtualClock
) -> None:
    async with keeping(directory, clock) as (network, chain):
        await register(chain, NODE)
        kept = signed(network, clock, {"endpoint": str(ELSEWHERE)})
        assert await post(network, "endpoint", kept) == (200, None)
        assert await post(network, "endpoint", kept) == (401, "auth")
        await clock.advance(1)
        assert await post(network, "endpoint", signed(network, clock, {"endpoint": str(HOME)})) == (200, None)
    await clock.advance(1)
    async with keeping(directory, clock) as (network, chain):
        assert await post(network, "endpoint", kept) == (503, "temporary")
        (neuron,) = (await chain.metagraph()).neurons
        assert neuron.endpoint == HOME


async def test_two_weights_for_one_uid_are_400(directory: Path, clock: VirtualClock) -> None:
    async with keeping(directory, clock) as (network, chain):
        uid = await register(chain, NODE, permit=True)
        shares = [{"share_ppb": 1, "uid": uid}, {"share_ppb": 5, "uid": uid}]
        assert await post(network, "weights", signed(network, clock, {"shares": shares})) == (400, "protocol")
        assert await chain.weights_of(uid) == {}


@pytest.mark.parametrize("off_seconds", [-60.0, 60.0])
async def test_a_node_whose_clock_is_not_the_keepers_is_told_so(directory: Path, off_seconds: float) -> None:
    keepers, nodes = VirtualClock(), VirtualClock()
    await (nodes if off_seconds > 0 else keepers).advance(abs(off_seconds))
    async with keeping(directory, keepers) as (network, _):
        with pytest.raises(TemporaryError, match=re.escape(f"clock is {off_seconds:+.0f} s off the keeper")):
            async with open_served_chain(network, identity=NODE, clock=nodes):
                pass


async def test_a_clock_a_second_off_will_do(directory: Path, clock: VirtualClock) -> None:
    nodes = VirtualClock()
    await nodes.advance(SKEW_SECONDS_MAX - 1)
    async with keeping(directory, clock) as (network, _), open_served_chain(network, identity=NODE, clock=nodes):
        pass


@asynccontextmanager
async def answering(status: int, body: bytes) -> AsyncIterator[PrivateNetwork]:
    """Somebody who is no keeper."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async with serving(build_app([Route("GET", "/v1/chain", answer)]), "127.0.0.1", 0) as endpoint:
        yield PrivateNetwork(endpoint, OTHER.public_key)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 50_000,
        b'{"error":{"code":"auth","message":"\\u001b[2Jgone\\nlevel: error"}}',
        b'{"error":[]}',
        b'"x"',
        b"\xff",
    ],
)
async def test_whatever_a_stranger_answers_is_an_error_without_control_characters(
    body: bytes, clock: VirtualClock
) -> None:
    async with answering(400, body) as network:
        with pytest.raises(HippyError) as raised:
            async with open_served_chain(network, identity=None, clock=clock):
                pass
    assert raised.value.message.isprintable()


async def test_nodes_go_on_with_what_they_know_while_the_keeper_hangs(
    directory: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        keeping(directory, clock) as (network, chain),
        open_served_chain(network, identity=NODE, clock=clock) as served,
        open_cached(served, clock) as node,
    ):
        await register(chain, NODE)
        assert (await node.metagraph()).by_hotkey(NODE.public_key) is not None
        hangs = asyncio.Event()

        async def hang(*_: object) -> bytes:
            await hangs.wait()
            raise TemporaryError("the keeper did not answer in time")

        monkeypatch.setattr(served, "_exchange", hang)
        await clock.advance(STALE_SECONDS / 2)
        asking = asyncio.create_task(node.metagraph())
        await clock.advance(10)
        assert (await asking).by_hotkey(NODE.public_key) is not None
        hangs.set()
