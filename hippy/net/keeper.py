"""The keeper of a private network: a LocalChain served to other machines (docs/PROTOCOL.md §10).

The keeper's directory has the chain's file and its key, mode 0600. Who is registered is decided beside the file
(``hippy chain admit``), never over the network; registered hotkeys publish their endpoint and, with a permit, weights,
each request signed (btauth/1). Answers are signed for the nonce that asked.

What strangers cost: a question one signature and, unless the chain has changed, no reading of the file; its neurons
are made into a message once. Writes that were signed before this keeper started are refused, since it does not know
which of them its predecessor has taken.

Example::

    create_keeper(directory, clock=clock, block_seconds=12.0, tempo_blocks=60)
    await run_keeper(directory, "192.168.1.10", 4000, clock=clock, ready=print)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.chain.protocol import BeaconNotYet, Neuron
from hippy.chain.weights import UID_MAX
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, ProtocolError, TemporaryError
from hippy.identity import Identity, load_keyfile, save_keyfile, ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.transport.limits import Rate, ServerLimits
from hippy.transport.server import Guard, Route, build_app, message_response, read_body, serving
from hippy.wire.btauth import NONCE_HEADER, NonceWindow
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message, SignedMessage
from hippy.wire.chain import (
    BILLION,
    NO_NETWORK,
    ChainDone,
    ChainState,
    EndpointRequest,
    ServedBeacon,
    ServedNeuron,
    ServedWeights,
    WeightShare,
    WeightsRequest,
)
from hippy.wire.fields import INTEGER_MAX

KEEPER_FILE: Final = "keeper"

ALLOWED: Final = ServerLimits(requests=Rate(100, 1000), anonymous=Rate(100, 1000))
"""A node asks once a block and, while it audits, once a second; a question about a full subnet takes 3 ms."""


def create_keeper(
    directory: Path, *, clock: Clock, block_seconds: float, tempo_blocks: int, netuid: int = 1
) -> PublicKey:
    """Make the chain and the key of a private network and return the key's public half.

    Raises ConfigError when there is a chain already or the directory cannot be written, UsageError for impossible
    times.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot make {directory}: {error.strerror}") from None
    LocalChain.create(
        directory / CHAIN_FILE,
        clock=clock,
        network=NetworkId(secrets.token_bytes(32)),
        genesis_secret=secrets.token_bytes(32),
        netuid=netuid,
        block_seconds=block_seconds,
        tempo_blocks=tempo_blocks,
    )
    keeper = Identity.from_seed(os.urandom(32))
    save_keyfile(keeper, directory / KEEPER_FILE)
    return keeper.public_key


def load_keeper(directory: Path) -> Identity:
    """Return the keeper's key. Raises ConfigError where there is none."""
    path = directory / KEEPER_FILE
    if not path.exists():
        raise ConfigError(f"{directory} keeps no private network", hint=f"hippy chain create {directory}")
    return load_keyfile(path)


def network_name(keeper: PublicKey, endpoint: Endpoint) -> str:
    """Return what nodes on other machines write as their ``network``."""
    return f"private:{endpoint}/{ss58_encode(keeper)}"


async def run_keeper(directory: Path, host: str, port: int, *, clock: Clock, ready: Callable[[Endpoint], None]) -> None:
    """Serve the private network in ``directory`` until cancelled; ``ready`` hears where.

    Raises ConfigError for a directory without one, and for an address that cannot be used.
    """
    keeper = await asyncio.to_thread(load_keeper, directory)
    async with open_local_chain(directory / CHAIN_FILE, hotkey=None, clock=clock) as chain:
        guard = Guard(keeper.public_key, clock, NonceWindow())
        routes = KeeperRoutes(keeper, chain, clock, guard).routes()
        async with serving(build_app(routes), host, port, allowed=ALLOWED) as endpoint:
            ready(endpoint)
            await asyncio.Event().wait()


class Senders(Protocol):
    """Tells who signed a request (hippy.transport.server.Guard)."""

    def sender(self, request: web.Request, body: bytes) -> PublicKey:
        """Return the key that signed the request over ``body``. Raises AuthError."""


class KeeperRoutes:
    """Requests of other machines as calls of the chain."""

    def __init__(self, keeper: Identity, chain: LocalChain, clock: Clock, guard: Senders) -> None:
        self._keeper = keeper
        self._chain = chain
        self._clock = clock
        self._guard = guard
        self._began_ns = int(clock.now() * 1e9)
        self._neurons: tuple[Neuron, ...] = ()
        self._served: tuple[ServedNeuron, ...] = ()

    def routes(self) -> list[Route]:
        """Return the routes to serve."""
        return [
            Route("GET", "/v1/chain", self._state),
            Route("GET", "/v1/chain/beacon/{round}", self._beacon),
            Route("GET", "/v1/chain/weights/{uid}", self._weights),
            Route("POST", "/v1/chain/endpoint", self._publish, body_bytes_max=MESSAGE_BYTES_MAX, signed=True),
            Route("POST", "/v1/chain/weights", self._set_weights, body_bytes_max=MESSAGE_BYTES_MAX, signed=True),
        ]

    async def _state(self, request: web.Request) -> web.StreamResponse:
        nonce, chain = _nonce(request), self._chain
        metagraph = await chain.metagraph()
        seconds = await chain.epoch_seconds() / metagraph.tempo_blocks
        state = ChainState(
            nonce=nonce,
            network=chain.network,
            netuid=chain.netuid,
            time=int(self._clock.now()),
            block=metagraph.block,
            block_microseconds=round(seconds * 1e6),
            tempo_blocks=metagraph.tempo_blocks,
            epoch=await chain.current_epoch(),
            beacon_round=await chain.beacon_round(),
            rounds_per_epoch=await chain.rounds_per_epoch(),
            neurons=self._told(metagraph.neurons),
        )
        return self._signed(state)

    async def _beacon(self, request: web.Request) -> web.StreamResponse:
        nonce, number = _nonce(request), _number(request.match_info["round"], INTEGER_MAX)
        try:
            beacon = await self._chain.beacon(number)
        except BeaconNotYet:
            beacon = None
        return self._signed(ServedBeacon(nonce=nonce, round=number, beacon=beacon))

    async def _weights(self, request: web.Request) -> web.StreamResponse:
        nonce, uid = _nonce(request), _number(request.match_info["uid"], UID_MAX)
        found = await self._chain.weights_of(uid)
        shares = tuple(WeightShare(uid=each, share_ppb=round(found[each] * BILLION)) for each in sorted(found))
        return self._signed(ServedWeights(nonce=nonce, uid=uid, shares=shares))

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        body, sender = await self._signed_body(request)
        message = EndpointRequest.parse(body)
        await self._chain.seen_by(sender).publish_endpoint(message.endpoint)
        return self._done(body)

    async def _set_weights(self, request: web.Request) -> web.StreamResponse:
        body, sender = await self._signed_body(request)
        message = WeightsRequest.parse(body)
        weights = {share.uid: float(share.share_ppb) for share in message.shares}
        if len(weights) != len(message.shares):
            raise ProtocolError("a uid has two weights")
        await self._chain.seen_by(sender).set_weights(weights)
        return self._done(body)

    async def _signed_body(self, request: web.Request) -> tuple[bytes, PublicKey]:
        body = await read_body(request, MESSAGE_BYTES_MAX)
        sender = self._guard.sender(request, body)
        if int(request.headers[NONCE_HEADER]) < self._began_ns:
            raise TemporaryError("this was signed before the keeper started", hint="send it again, signed anew")
        return body, sender

    def _told(self, neurons: tuple[Neuron, ...]) -> tuple[ServedNeuron, ...]:
        """Return neurons as they are served; the chain gives the same tuple until something changes."""
        if neurons is not self._neurons:
            self._neurons, self._served = neurons, tuple(map(_served, neurons))
        return self._served

    def _done(self, body: bytes) -> web.Response:
        return self._signed(ChainDone(body_hash=hashlib.sha256(body).digest()))

    def _signed(self, message: SignedMessage) -> web.Response:
        signed: Message = message.signed(self._keeper, NO_NETWORK)
        return message_response(signed)


def _served(neuron: Neuron) -> ServedNeuron:
    return ServedNeuron(
        uid=neuron.uid,
        hotkey=neuron.hotkey,
        coldkey=neuron.coldkey,
        endpoint=neuron.endpoint,
        validator_permit=int(neuron.validator_permit),
        stake_rao=str(neuron.stake_rao),
        registered_block=neuron.registered_block,
        incentive_ppb=round(neuron.incentive * BILLION),
    )


def _nonce(request: web.Request) -> bytes:
    told = request.query.get("nonce", "")
    try:
        nonce = bytes.fromhex(told)
    except ValueError:
        nonce = b""
    if len(nonce) != len(NO_NETWORK):
        raise ProtocolError("the query is nonce=, 32 bytes in hex")
    return nonce


def _number(text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limit)) and int(text) <= limit):
        raise ProtocolError(f"not a number up to {limit}: {text[:32]!r}")
    return int(text)
