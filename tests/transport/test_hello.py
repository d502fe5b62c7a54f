"""Nobody passes the handshake for another: not with an old answer, another key, role or network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ProtocolError, UnreachableError
from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk, check_endpoint, meet, shake_hands
from hippy.transport.server import Route, build_app, message_response, serving
from hippy.wire.node import EncryptionKey, Hello

NETWORK, OTHER_NETWORK = NetworkId(b"N" * 32), NetworkId(b"O" * 32)
MINER, OTHER = Identity.from_seed(b"m" * 32), Identity.from_seed(b"o" * 32)
CLOCK = VirtualClock()
NOW = int(CLOCK.now())


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with open_http(None, CLOCK) as http:
        yield http


@asynccontextmanager
async def node(route: Route) -> AsyncIterator[Peer]:
    async with serving(build_app([route]), "127.0.0.1", 0) as endpoint:
        yield Peer(endpoint, MINER.public_key)


def answering(
    signer: Identity = MINER,
    signed_for: NetworkId = NETWORK,
    forge: Callable[[Hello], Hello] = lambda h: h,
    **fields: Any,
) -> Route:
    """A node that answers with the given fields, signed by ``signer`` and altered afterwards."""

    async def handler(request: web.Request) -> web.StreamResponse:
        honest: dict[str, Any] = {
            "role": "miner",
            "hotkey": MINER.public_key,
            "network": NETWORK,
            "netuid": 7,
            "nonce": bytes.fromhex(request.query["nonce"]),
            "time": NOW,
            "protocol": 1,
            "software": "x",
        }
        return message_response(forge(Hello(**{**honest, **fields}).signed(signer, signed_for)))

    return Route("GET", "/v1/hello", handler)


async def shake(http: Http, peer: Peer) -> Hello:
    return await shake_hands(http, peer, "miner", NETWORK, local=True, clock=CLOCK)


async def test_miner_says_what_it_has(http: Http) -> None:
    desk = HelloDesk(MINER, "miner", NETWORK, 7, CLOCK, space=lambda: (100, 40))
    async with node(desk.route()) as peer:
        hello = await shake(http, peer)
    assert (hello.netuid, hello.time, hello.capacity_bytes, hello.used_bytes) == (7, NOW, 100, 40)
    assert hello.encryption_key is None


async def test_validator_says_its_encryption_key(http: Http) -> None:
    key = EncryptionKey(validator=MINER.public_key, key_id=1, key=b"x" * 32, not_before=NOW, not_after=NOW + 1).signed(
        MINER, NETWORK
    )
    desk = HelloDesk(MINER, "validator", NETWORK, 7, CLOCK, encryption_key=key)
    async with node(desk.route()) as peer:
        hello = await shake_hands(http, peer, "validator", NETWORK, local=True, clock=CLOCK)
    assert hello.encryption_key == key
    assert hello.capacity_bytes is None


async def test_desk_echoes_the_nonce_it_was_given(http: Http) -> None:
    async with node(HelloDesk(MINER, "miner", NETWORK, 7, CLOCK).route()) as peer:
        hello = await http.message(peer, Call("GET", f"/v1/hello?nonce={'ab' * 32}"), Hello)
        assert hello.nonce == b"\xab" * 32
        hello.check_signature(MINER.public_key, NETWORK)


@pytest.mark.parametrize("query", ["", "?nonce=", "?nonce=ab", f"?nonce={'AB' * 32}", f"?nonce={'zz' * 32}", "?n=1"])
async def test_desk_signs_nothing_but_a_nonce(http: Http, query: str) -> None:
    async with node(HelloDesk(MINER, "miner", NETWORK, 7, CLOCK).route()) as peer:
        with pytest.raises(ProtocolError, match="hex digits"):
            await http.bytes(peer, Call("GET", f"/v1/hello{query}"))


@pytest.mark.parametrize("off", [-120, 0, 120])
async def test_clock_may_be_two_minutes_off(http: Http, off: int) -> None:
    async with node(answering(time=NOW + off)) as peer:
        assert (await shake(http, peer)).time == NOW + off


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"nonce": bytes(32)}, "did not answer our handshake as a miner"),
        ({"role": "validator"}, "did not answer our handshake as a miner"),
        ({"hotkey": OTHER.public_key}, "not signed by"),
        ({"hotkey": OTHER.public_key, "signer": OTHER}, "answered the handshake as 5"),
        ({"protocol": 2}, "speaks protocol 2"),
        ({"time": NOW - 121}, "-121 s off"),
        ({"time": NOW + 121}, "121 s off"),
        ({"network": OTHER_NETWORK}, "not signed by"),
        ({"network": OTHER_NETWORK, "signed_for": OTHER_NETWORK}, "belongs to another network"),
        ({"signed_for": OTHER_NETWORK}, "not signed by"),
    ],
)
async def test_wrong_answer_is_refused(http: Http, fields: dict[str, Any], told: str) -> None:
    async with node(answering(**fields)) as peer:
        with pytest.raises((ProtocolError, AuthError), match=told):
            await shake(http, peer)


async def test_a_first_meeting_learns_who_is_there(http: Http) -> None:
    async with node(HelloDesk(MINER, "miner", NETWORK, 7, CLOCK).route()) as peer:
        hello = await meet(http, peer.endpoint, "miner", clock=CLOCK)
    assert (hello.hotkey, hello.network, hello.netuid) == (MINER.public_key, NETWORK, 7)


@pytest.mark.parametrize(
    "fields", [{"nonce": bytes(32)}, {"role": "validator"}, {"protocol": 2}, {"signer": OTHER}, {"time": NOW - 121}]
)
async def test_a_first_meeting_believes_no_impostor(http: Http, fields: dict[str, Any]) -> None:
    async with node(answering(**fields)) as peer:
        with pytest.raises((ProtocolError, AuthError)):
            await meet(http, peer.endpoint, "miner", clock=CLOCK)


async def test_answer_signed_by_another_key_is_refused(http: Http) -> None:
    async with node(answering(signer=OTHER)) as peer:
        with pytest.raises(AuthError, match="not signed by"):
            await shake(http, peer)


async def test_answer_altered_after_signing_is_refused(http: Http) -> None:
    async with node(answering(forge=lambda hello: hello.model_copy(update={"netuid": 8}))) as peer:
        with pytest.raises(AuthError, match="not signed by"):
            await shake(http, peer)


async def test_first_meeting_learns_who_is_there(http: Http) -> None:
    async with node(answering()) as peer:
        hello = await meet(http, peer.endpoint, "miner", clock=CLOCK)
    assert (hello.hotkey, hello.network) == (MINER.public_key, NETWORK)


@pytest.mark.parametrize(
    "fields",
    [
        {"nonce": bytes(32)},
        {"role": "validator"},
        {"time": NOW - 121},
        {"hotkey": OTHER.public_key},
        {"signer": OTHER},
        {"network": OTHER_NETWORK},
    ],
)
async def test_first_meeting_believes_nobody_without_proof(http: Http, fields: dict[str, Any]) -> None:
    async with node(answering(**fields)) as peer:
        with pytest.raises((ProtocolError, AuthError)):
            await meet(http, peer.endpoint, "miner", clock=CLOCK)


async def test_absent_node_is_unreachable(http: Http) -> None:
    async with node(answering()) as peer:
        pass
    with pytest.raises(UnreachableError):
        await shake(http, peer)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
@pytest.mark.parametrize("local", [False, True])
def test_public_endpoint_is_allowed(host: str, local: bool) -> None:
    check_endpoint(Peer(Endpoint(host, 80), MINER.public_key), local=local)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "192.168.1.20", "172.16.0.1", "100.64.0.1", "fc00::1", "fd12::3"],
)
def test_an_address_inside_a_network_is_allowed_on_local_and_private_networks_only(host: str) -> None:
    peer = Peer(Endpoint(host, 80), MINER.public_key)
    check_endpoint(peer, local=True)
    with pytest.raises(ProtocolError, match="no address a node may advertise"):
        check_endpoint(peer, local=False)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "ff02::1",
        "::",
        "64:ff9b::c0a8:101",
    ],
)
@pytest.mark.parametrize("local", [False, True])
def test_an_address_that_names_no_one_machine_is_refused_everywhere(host: str, local: bool) -> None:
    with pytest.raises(ProtocolError, match="no address a node may advertise"):
        check_endpoint(Peer(Endpoint(host, 80), MINER.public_key), local=local)


async def test_refused_endpoint_is_never_called(http: Http) -> None:
    called = []

    async def handler(_: web.Request) -> web.StreamResponse:
        called.append(1)
        return web.Response()

    async with node(Route("GET", "/v1/hello", handler)) as peer:
        with pytest.raises(ProtocolError, match="no address"):
            await shake_hands(http, peer, "miner", NETWORK, local=False, clock=CLOCK)
    assert called == []
