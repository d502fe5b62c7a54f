"""Taking orders to repair: ``POST /v1/repair`` (PROTOCOL §7).

A validator orders a piece to be made of others and a mask, or copied. The order comes first in the body and is checked,
its own signature too, before anything is set aside for the mask: who is no validator gets no more of our memory than
an order takes. What is refused after that is answered when the mask was read, and thrown away, for its sender may read
no answer before. Then sources are read (hippy.miner.sources), range by range the piece is made
(hippy.miner.rebuilding), and it is stored and receipted as an uploaded one is (hippy.miner.service).

An order that is repeated while it is worked on waits for the same answer. Nothing of an order is durable before its
piece is, so a miner that dies meanwhile is sent the order once more, and begins anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import AuthError, HippyError, IntegrityError, ProtocolError, TemporaryError, TooLargeError
from hippy.identity import ss58_decode
from hippy.ids import MessageId, PublicKey
from hippy.miner.bodies import receive, receive_exactly, throw_away
from hippy.miner.bounds import Budget, Hold, Shares
from hippy.miner.figures import counting_errors
from hippy.miner.orders import check_order
from hippy.miner.rebuilding import Rebuilding, working_bytes
from hippy.miner.service import Admission, MinerService
from hippy.miner.sources import Sources
from hippy.miner.store import PieceStore
from hippy.proofs.tree import piece_root
from hippy.transport import limits
from hippy.transport.client import Http
from hippy.transport.server import Guard, Route, error_response, message_response
from hippy.wire.btauth import HOTKEY_HEADER, SignedRequest, verify_request
from hippy.wire.parts import LENGTH_BYTES
from hippy.wire.repair import ORDER_BYTES_MAX, REPAIR_BYTES_MAX, RepairAnswer, RepairOrder
from hippy.wire.ticket import REFUSAL_HEADER, Receipt

REPAIRS_PER_VALIDATOR_MAX: Final = 2
"""Orders of one validator at a time (PROTOCOL §7)."""

REPAIRS_BYTES_MAX: Final = 96 * 1024 * 1024
"""Memory for all orders at work: six of the longest pieces, many of short ones."""

STORING_SECONDS: Final = 10.0
"""Of an order's time: for the disk and the answer, once all was read."""


Outcome = RepairAnswer | TemporaryError
"""What comes of an order that is worked on: an answer, or why there is none now."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A request whose order is here and was checked; its mask is still to come."""

    request: web.Request
    head: bytes
    """What came so far: the order, and its length."""

    order: RepairOrder
    arrived_ns: int
    """When its head was here; the signature's age is counted then, for the mask may take longer than it may be old."""

    @property
    def mask_bytes(self) -> int:
        """How long the rest of the body is."""
        return sum(self.order.blob_lengths())

    async def throw_away(self) -> None:
        """Read the mask and keep nothing of it: its sender may read no answer before it is through."""
        await throw_away(self.request.content, self.mask_bytes)


class Repairs:
    """The route for orders."""

    def __init__(
        self, service: MinerService, store: PieceStore, guard: Guard, chain: Chain, http: Http, clock: Clock
    ) -> None:
        self._service = service
        self._figures = store.figures
        self._guard = guard
        self._chain = chain
        self._http = http
        self._clock = clock
        self._shares = Shares(REPAIRS_PER_VALIDATOR_MAX, "repairs")
        self._memory = Budget(REPAIRS_BYTES_MAX, "bytes of repairs")
        self._at_work: dict[MessageId, asyncio.Future[Outcome]] = {}

    def route(self) -> Route:
        """Return the route to serve."""
        return Route("POST", "/v1/repair", self.answer, expect=self.admit, body_bytes_max=REPAIR_BYTES_MAX, signed=True)

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Decide by its head whether a body is wanted: raises AuthError unless it says that a validator sent it."""
        await self._service.check_permit(_sender(request))
        return None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Carry out one order."""
        with counting_errors(self._figures.repairs):
            arrived_ns = int(self._clock.now() * 1e9)
            await self.admit(request)
            head, order = await _receive_order(request)
            order.check_signature(_sender(request), self._service.here.network)
            arrival = _Arrival(request, head, order, arrived_ns)
            await self._check(arrival)
            outcome = await self._outcome(arrival)
        if isinstance(outcome, TemporaryError):
            self._figures.repairs[outcome.code] += 1
            refusal = self._service.refusal(order.ticket, outcome)
            return error_response(outcome, headers={REFUSAL_HEADER: refusal.encode().decode()} if refusal else None)
        return message_response(outcome)

    async def _check(self, arrival: _Arrival) -> None:
        """Check an order of which it is known who gave it. Raises AuthError, ProtocolError once the mask is here."""
        try:
            check_order(arrival.order, _sender(arrival.request), self._service.here, self._clock.now())
        except HippyError:
            await arrival.throw_away()
            raise

    async def _outcome(self, arrival: _Arrival) -> Outcome:
        """Work on an order, or wait for who does already."""
        order_id = arrival.order.id(self._service.here.network)
        at_work = self._at_work.get(order_id)
        if at_work is not None:
            self._figures.repairs["repeated"] += 1
            await arrival.throw_away()
            return await asyncio.shield(at_work)
        outcome: Outcome = TemporaryError("the order was given up", hint="send it once more")  # to those who wait
        self._at_work[order_id] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._admitted(arrival)
            return outcome
        finally:
            self._at_work.pop(order_id).set_result(outcome)

    async def _admitted(self, arrival: _Arrival) -> Outcome:
        ticket = arrival.order.ticket
        try:
            admitted = await self._service.admit_ticket(
                ticket, ticket.id(self._service.here.network), lambda: self._take(arrival.order)
            )
        except TemporaryError as error:
            await arrival.throw_away()
            return error
        if isinstance(admitted, Receipt):
            self._figures.repairs["repeated"] += 1
            await arrival.throw_away()
            return RepairAnswer(receipt=admitted)
        with admitted.hold:
            mask = await self._receive_mask(arrival)
            try:
                answer = await self._made(arrival.order, mask, admitted)
            except TemporaryError as error:
                return error
        self._figures.repairs[answer.failure or ("copied" if arrival.order.is_copy else "made")] += 1
        return answer

    def _take(self, order: RepairOrder) -> Hold:
        share = self._shares.take(order.ticket.validator)
        try:
            memory = self._memory.take(working_bytes(order))
        except BaseException:
            share.release()
            raise
        return Hold(share.release, memory.release)

    async def _receive_mask(self, arrival: _Arrival) -> bytearray | None:
        """Return the mask, None for a copy, once the request is known to be its sender's.

        Raises ProtocolError for another length, AuthError, and IntegrityError for other bytes than the order names.
        """
        mask, hashes = await receive(arrival.request.content, arrival.mask_bytes)
        request, order = arrival.request, arrival.order
        verify_request(
            request.headers,
            SignedRequest(request.method, request.raw_path, arrival.head + mask),
            receiver=self._guard.hotkey,
            nonces=self._guard.nonces,
            now_ns=arrival.arrived_ns,
        )
        if order.is_copy:
            return None
        if piece_root(hashes, len(mask)) != order.mask_root:
            raise IntegrityError("the mask is not the one that the order names")
        return mask

    async def _made(self, order: RepairOrder, mask: bytearray | None, admission: Admission) -> RepairAnswer:
        """Read the sources and make the piece, durably. Raises TemporaryError for our own shortage."""
        give_up_at = asyncio.get_running_loop().time() + limits.repair_seconds(order.read_bytes) - STORING_SECONDS
        network, local = self._chain.network, self._chain.is_local
        sources = Sources(order, self._http, network, self._clock, local=local, give_up_at=give_up_at)
        building = Rebuilding(order, mask)
        failed = (await sources.meet()).failed
        while not failed and not building.is_done:
            read = await sources.read(*building.next_range())
            failed = read.failed or await asyncio.to_thread(building.take, read.results)
        if failed:
            return RepairAnswer(failure="sources", sources=tuple(sorted(failed)))
        try:
            receipt = await self._service.keep(admission, building.piece, building.leaf_hashes())
        except IntegrityError:
            return RepairAnswer(failure="mismatch")
        return RepairAnswer(receipt=receipt)


async def _receive_order(request: web.Request) -> tuple[bytes, RepairOrder]:
    """Return an order with its length before it, and what it says. Raises ProtocolError, DeadlineError."""
    length = await receive_exactly(request.content, LENGTH_BYTES)
    size = int.from_bytes(length, "little")
    if size > ORDER_BYTES_MAX:
        raise TooLargeError(f"an order to repair has at most {ORDER_BYTES_MAX} bytes, this one {size}")
    raw = await receive_exactly(request.content, size)
    order = await asyncio.to_thread(RepairOrder.parse, raw, limit=ORDER_BYTES_MAX)
    return length + raw, order


def _sender(request: web.Request) -> PublicKey:
    """Return who a request says has signed it."""
    try:
        return ss58_decode(request.headers.get(HOTKEY_HEADER, ""))
    except ProtocolError as error:
        raise AuthError(f"the request's sender is {error.message}") from None
