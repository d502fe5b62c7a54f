"""The miner on the network: its routes, and :func:`run_miner`, which puts a node together.

Routes (PROTOCOL §1, §3.2, §4)::

    GET /v1/hello?nonce=…                          signed handshake, with capacity and used bytes
    PUT /v1/pieces/{root}                          store a piece, under a ticket
    GET /v1/pieces/{root}                          the whole piece
    GET /v1/pieces/{root}?offset=&length=&proof=1  the covering leaves with their range proof
    POST /v1/repair                                make a piece of others (hippy.miner.repairs)
    POST /v1/audit                                 leaves with their paths, signed (hippy.miner.audit)

A PUT is decided before its body is read: in the expect handler when the client asks first, else at the top of
the handler. Both run :meth:`Pieces.admit`, which authenticates, checks the ticket and sets memory and disk
aside. What was set aside belongs to the request's task and comes back when that ends, in whatever way.

A GET takes a place among the answers on their way out (hippy.transport.outbox), then a turn at the disk, which ends
before anything is sent: a reader that takes nothing holds memory of its own address's share and nobody's turn.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hippy.chain.joining import joined_chain
from hippy.chain.protocol import Chain
from hippy.chain.publish import publish
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import HippyError, ProtocolError, TemporaryError, TooLargeError
from hippy.identity import Identity
from hippy.ids import Root, id_from_hex
from hippy.miner.audit import Audits
from hippy.miner.background import background
from hippy.miner.bodies import receive
from hippy.miner.bounds import Budget
from hippy.miner.drain_routes import drain_routes
from hippy.miner.draining import Draining
from hippy.miner.figures import counting_errors
from hippy.miner.housekeeping import keeping_house
from hippy.miner.issuers import Issuers
from hippy.miner.metrics import attached
from hippy.miner.rates import AUDITS_AT_ONCE_MAX, Rates, audits_per_second
from hippy.miner.repairs import Repairs
from hippy.miner.service import Admission, MinerService, Upload
from hippy.miner.settings import MinerSettings
from hippy.miner.store import PieceStore, open_store
from hippy.proofs.ranges import covering_leaves, encode_range
from hippy.proofs.tree import LEAF_BYTES
from hippy.transport.admin import AdminPlace, admin_serving
from hippy.transport.client import Http, open_http
from hippy.transport.granting import granted
from hippy.transport.hello import HelloDesk
from hippy.transport.outbox import Outbox
from hippy.transport.server import Guard, Route, build_app, error_response, message_response, serving
from hippy.transport.turns import Turns
from hippy.wire.btauth import NonceWindow
from hippy.wire.pace import USUAL_EPOCH_SECONDS
from hippy.wire.ticket import REFUSAL_HEADER, TICKET_BYTES_MAX, TICKET_HEADER, Receipt, Ticket, TicketProof

if TYPE_CHECKING:
    from typing_extensions import Buffer

READS_MAX: Final = 16
"""Pieces being read from disk, twice what its threads do at once."""

READ_BYTES_MAX: Final = 128 * 1024 * 1024
"""Memory for what readers are about to get: for each of four addresses the eight pieces that a validator reads at once
(PROTOCOL §5.5), 32 MiB."""

READS_WAITING_MAX: Final = 256
READ_WAIT_SECONDS: Final = 5.0
"""In line for room and for the disk together."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,6}")
_ADMISSION: Final = web.RequestKey("admission", Admission)


class Pieces:
    """The piece routes."""

    def __init__(self, service: MinerService, store: PieceStore, guard: Guard) -> None:
        self._service = service
        self._store = store
        self._guard = guard
        self._outbox = Outbox(READ_BYTES_MAX, "reads", waiting_max=READS_WAITING_MAX, wait_seconds=READ_WAIT_SECONDS)
        self._reads = Turns(READS_MAX, "reads", waiting_max=READS_WAITING_MAX, wait_seconds=READ_WAIT_SECONDS)

    def routes(self) -> list[Route]:
        """Return the routes to serve."""
        path = "/v1/pieces/{root}"
        return [
            Route("PUT", path, self.put, expect=self.admit, body_bytes_max=PIECE_LENGTH_MAX, signed=True),
            Route("GET", path, self.get),
        ]

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Decide about an upload; None means that its body is wanted."""
        with counting_errors(self._store.figures.uploads):
            upload = self._upload(request)
            try:
                admitted = await self._service.admit(upload)
            except TemporaryError as error:
                return self._refuse(upload.proof.ticket, error)
        if isinstance(admitted, Receipt):
            self._store.figures.uploads["repeated"] += 1
            return message_response(admitted)
        _release_with_task(admitted)
        request[_ADMISSION] = admitted
        return None

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Store a piece."""
        if _ADMISSION not in request:  # sent without Expect
            answer = await self.admit(request)
            if answer is not None:
                return answer
        admission = request[_ADMISSION]
        with admission.hold, counting_errors(self._store.figures.uploads):
            data, hashes = await receive(request.content, admission.ticket.piece_length)
            try:
                receipt = await self._service.keep(admission, data, hashes)
            except TemporaryError as error:
                return self._refuse(admission.ticket, error)
        self._store.figures.uploads["stored"] += 1
        return message_response(receipt)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer a piece, or some leaves of one with their proof."""
        with counting_errors(self._store.figures.reads):
            answer = await self._answer(request)
        self._store.figures.reads["read"] += 1
        return answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        root, wanted = _root(request), _range(request)
        length = await self._store.length(root)
        async with self._outbox.place(request.remote, _answer_bytes(length, wanted)) as place:
            async with self._reads.turn(waited_seconds=place.waited_seconds):
                buffers = await self._read(root, length, wanted)
            return await place.send(request, buffers)

    async def _read(self, root: Root, length: int, wanted: tuple[int, int] | None) -> list[Buffer]:
        if wanted is None:
            return [await self._store.read(root, length)]
        return encode_range(await self._store.read_range(root, length, *wanted))

    def _upload(self, request: web.Request) -> Upload:
        """Read a request's head in the order size, signature, parse (PROTOCOL §1)."""
        told = request.headers.get(TICKET_HEADER, "")
        if len(told) > TICKET_BYTES_MAX:
            raise TooLargeError(f"a ticket has at most {TICKET_BYTES_MAX} bytes, this one {len(told)}")
        if (request.content_length or 0) > PIECE_LENGTH_MAX:
            raise TooLargeError(f"a piece has at most {PIECE_LENGTH_MAX} bytes, not {request.content_length}")
        if "Content-Encoding" in request.headers:
            raise ProtocolError("a piece is sent as it is, without Content-Encoding")
        sender = self._guard.sender(request, b"")
        proof = TicketProof.parse(told.encode("utf-8", "surrogateescape"), limit=TICKET_BYTES_MAX)
        return Upload(_root(request), request.content_length, sender, proof)

    def _refuse(self, ticket: Ticket, error: HippyError) -> web.Response:
        self._store.figures.uploads[error.code] += 1
        refusal = self._service.refusal(ticket, error)
        return error_response(error, headers={REFUSAL_HEADER: refusal.encode().decode()} if refusal else None)


def _release_with_task(admission: Admission) -> None:
    """aiohttp runs each request in a task of its own; a connection can break between admission and handler."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: admission.hold.release())


def _root(request: web.Request) -> Root:
    return Root(id_from_hex(request.match_info["root"]))


def _range(request: web.Request) -> tuple[int, int] | None:
    """Return offset and length of a ranged read, None for a whole one."""
    if not request.query_string:
        return None
    query = request.query
    if len(query) != 3 or set(query) != {"offset", "length", "proof"} or query["proof"] != "1":
        raise ProtocolError("a ranged read has the parameters offset, length and proof=1, once each")
    return _number(query["offset"]), _number(query["length"])


def _answer_bytes(length: int, wanted: tuple[int, int] | None) -> int:
    """Return how long an answer will be, its proof (a kilobyte) left out; raises ProtocolError for a bad range."""
    return length if wanted is None else covering_leaves(*wanted, length)[1] * LEAF_BYTES


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ProtocolError(f"not a number of bytes in a piece: {text[:16]!r}")
    return int(text)


def build_miner(
    identity: Identity,
    chain: Chain,
    store: PieceStore,
    clock: Clock,
    *,
    body_bytes_in_flight_max: int,
    validator_stake_min_rao: int = 1,
    epoch_seconds: float = USUAL_EPOCH_SECONDS,
    http: Http | None = None,
) -> web.Application:
    """Return the miner's application, ready to be served.

    ``epoch_seconds`` sets how often it may be audited; without ``http``, with which other miners are read, it takes no
    orders to repair.
    """
    bodies = Budget(body_bytes_in_flight_max, "bytes of uploads")
    service = MinerService(identity, chain, store, bodies, clock, validator_stake_min_rao=validator_stake_min_rao)
    guard = Guard(identity.public_key, clock, NonceWindow())
    pieces = Pieces(service, store, guard)
    rates = Rates(audits_per_second(epoch_seconds), AUDITS_AT_ONCE_MAX, clock)
    audits = Audits(identity, service.here, store, service.permits, guard, rates)
    desk = HelloDesk(identity, "miner", chain.network, chain.netuid, clock, space=store.space)
    routes = [desk.route(), *pieces.routes(), audits.route()]
    if http is not None:
        routes.append(Repairs(service, store, guard, chain, http, clock).route())
    return build_app(routes)


async def run_miner(settings: MinerSettings, *, clock: Clock, ready: Callable[[Endpoint], None]) -> None:
    """Run a miner until cancelled, then let requests in flight finish and close everything.

    ``ready`` is told the endpoint once it is served and published. Raises ConfigError for a setting, key,
    network or disk that cannot be used, AuthError when the hotkey is not registered, TemporaryError when the chain does
    not say how long its epochs are.
    """
    async with (
        admin_serving(AdminPlace(settings.admin_host, settings.admin_port, settings.data_dir), clock) as admin,
        joined_chain(settings, clock) as node,
        open_store(
            settings.data_dir,
            capacity_bytes=settings.capacity_bytes,
            disk_reserve_bytes=settings.disk_reserve_bytes,
            extras=settings.extras(local=node.chain.is_local),
            clock=clock,
        ) as store,
        open_http(node.identity, clock) as http,
    ):
        epoch_seconds = await node.chain.epoch_seconds()
        app = build_miner(
            node.identity,
            node.chain,
            store,
            clock,
            body_bytes_in_flight_max=settings.body_bytes_in_flight_max,
            validator_stake_min_rao=settings.stake_min_rao(local=node.chain.is_local),
            epoch_seconds=epoch_seconds,
            http=http,
        )
        admin.requests.count(app)
        allowed = granted(
            connections_max=settings.connections_max,
            connections_per_address_max=settings.connections_per_address_max,
        )
        issuers = Issuers(node.chain, http, clock)
        draining = Draining(store, issuers, http, node.identity, clock, node.chain.network, epoch_seconds)
        admin.attach(attached(settings.data_dir, store.figures, drain_routes(draining)))
        async with (
            serving(app, settings.host, settings.port, allowed=allowed, traffic=admin.traffic) as endpoint,
            keeping_house(store, node.chain, http, node.identity, clock, epoch_seconds, settings.chores()),
            background(draining.run()),
        ):
            await publish(node.chain, settings.published(endpoint), clock)
            admin.announce()
            ready(endpoint)
            await asyncio.Event().wait()
