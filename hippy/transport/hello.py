"""The signed handshake: no endpoint that the chain names is used before its hotkey has answered a nonce.

Otherwise anybody could advertise a stranger's address and have the whole network send requests there.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ProtocolError
from hippy.identity import Identity, ss58_encode
from hippy.ids import ZERO_ID, NetworkId, PublicKey, id_from_hex
from hippy.transport.client import Call, Http, Peer
from hippy.transport.server import Route, message_response
from hippy.version import __version__
from hippy.wire.canonical import check_time
from hippy.wire.node import PROTOCOL_VERSION, EncryptionKey, Hello, Role

HELLO_SECONDS = 5.0


def check_endpoint(peer: Peer, *, local: bool) -> None:
    """Raises ProtocolError for an endpoint that is not public, unless the network is ``local`` (or private) and it is
    an address inside one."""
    allowed = peer.endpoint.is_public or (local and peer.endpoint.is_inside)
    if not allowed:
        raise ProtocolError(f"{peer.endpoint} is no address a node may advertise here")


async def shake_hands(http: Http, peer: Peer, role: Role, network: NetworkId, *, local: bool, clock: Clock) -> Hello:
    """Return the peer's hello to a fresh nonce.

    Raises ProtocolError or AuthError when somebody else answers, TemporaryError when nobody does.
    """
    check_endpoint(peer, local=local)
    hello = await _ask(http, peer, role, clock)
    if hello.hotkey != peer.hotkey:
        raise ProtocolError(f"{peer} answered the handshake as {ss58_encode(hello.hotkey)}")
    if hello.network != network:
        raise ProtocolError(f"{peer} belongs to another network")
    return hello


async def meet(http: Http, endpoint: Endpoint, role: Role, *, clock: Clock) -> Hello:
    """Return the hello of whoever listens at ``endpoint``: who they say they are, proved by their signature.

    For a first meeting, when a person has typed the address; later calls hold them to it (:func:`shake_hands`).
    Raises like shake_hands.
    """
    return await _ask(http, Peer(endpoint, PublicKey(ZERO_ID)), role, clock)


async def _ask(http: Http, peer: Peer, role: Role, clock: Clock) -> Hello:
    nonce = secrets.token_bytes(32)
    call = Call("GET", f"/v1/hello?nonce={nonce.hex()}", deadline_seconds=HELLO_SECONDS)
    hello = await http.message(peer, call, Hello)
    if hello.nonce != nonce or hello.role != role:
        raise ProtocolError(f"the node at {peer.endpoint} did not answer our handshake as a {role}")
    if hello.protocol != PROTOCOL_VERSION:
        raise ProtocolError(f"{peer} speaks protocol {hello.protocol}, we speak {PROTOCOL_VERSION}")
    check_time(hello.time, clock.now())
    hello.check_signature(hello.hotkey, hello.network)
    return hello


class HelloDesk:
    """Answers ``GET /v1/hello`` for a node."""

    def __init__(
        self,
        identity: Identity,
        role: Role,
        network: NetworkId,
        netuid: int,
        clock: Clock,
        *,
        space: Callable[[], tuple[int, int]] | None = None,
        encryption_key: EncryptionKey | None = None,
    ) -> None:
        self._identity = identity
        self._role = role
        self._network = network
        self._netuid = netuid
        self._clock = clock
        self._space = space
        self._encryption_key = encryption_key

    def route(self) -> Route:
        """Return the route to serve."""
        return Route("GET", "/v1/hello", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        nonce = id_from_hex(request.query.get("nonce", ""))
        capacity, used = self._space() if self._space else (None, None)
        hello = Hello(
            role=self._role,
            hotkey=PublicKey(self._identity.public_key),
            network=self._network,
            netuid=self._netuid,
            nonce=nonce,
            time=int(self._clock.now()),
            protocol=PROTOCOL_VERSION,
            software=f"hippy {__version__}",
            capacity_bytes=capacity,
            used_bytes=used,
            encryption_key=self._encryption_key,
        )
        return message_response(hello.signed(self._identity, self._network))
