"""Sending an order and its mask to the miner that is to make a piece, and what its answer means (PROTOCOL §7).

Owns ``POST /v1/repair`` from the validator's side and nothing of what follows: what came of it is one of five values.
No answer at all may be a lost one, so the same order may be sent once more; every other is an end of this order.

Example::

    reply = await ordering.send(order, mask)
    if isinstance(reply, Made):
        ...
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError, TemporaryError
from hippy.transport.client import Answer, Call, Http, Peer
from hippy.transport.limits import deadline_seconds, repair_seconds
from hippy.validator.log import Home
from hippy.validator.repair.moves import check_receipt
from hippy.wire.parts import CONTENT_TYPE, encode_parts
from hippy.wire.repair import REPAIR_ANSWER_BYTES_MAX, RepairAnswer, RepairOrder
from hippy.wire.ticket import REFUSAL_HEADER, Receipt

UNANSWERED: Final = frozenset({408, 429, 500, 502, 503, 507})
"""Statuses that say nothing of the order itself, unless a signed refusal is beside them."""


@dataclass(frozen=True, slots=True)
class Made:
    """The miner has the piece, by a receipt that was checked."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class SourcesFailed:
    """These sources could not be had or did not match their roots, says the miner."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """All sources matched their roots and make another piece, says the miner."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The miner does not take the order, or answered nonsense."""

    why: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer came; there may have been one."""

    why: str


Reply = Made | SourcesFailed | Mismatch | Refused | Unanswered


class Ordering:
    """Sends the orders of one validator."""

    def __init__(self, home: Home, http: Http, clock: Clock) -> None:
        """``http`` signs as the validator."""
        self._home = home
        self._http = http
        self._clock = clock

    async def send(self, order: RepairOrder, mask: bytes) -> Reply:
        """Send an unsigned order, with its mask where it is no copy, and return what came of it."""
        ticket = order.ticket
        read_bytes = len(order.sources) * ticket.piece_length
        call = Call(
            "POST",
            "/v1/repair",
            body=await asyncio.to_thread(self._body, order, mask),
            headers={"Content-Type": CONTENT_TYPE},
            answer_bytes_max=REPAIR_ANSWER_BYTES_MAX,
            deadline_seconds=repair_seconds(read_bytes) + deadline_seconds(len(mask)),
            stall_seconds=repair_seconds(read_bytes),
        )
        try:
            answer = await self._http.request(Peer(ticket.endpoint, ticket.miner), call)
        except TemporaryError as error:
            return Unanswered(str(error))
        except HippyError as error:
            return Refused(str(error))
        return self._reply(order, answer)

    def _body(self, order: RepairOrder, mask: bytes) -> bytes:
        return encode_parts(order.signed(self._home.identity, self._home.network), [] if order.is_copy else [mask])

    def _reply(self, order: RepairOrder, answer: Answer) -> Reply:
        error = answer.error()
        if error is not None:
            is_about_order = answer.status not in UNANSWERED or REFUSAL_HEADER in answer.headers
            return Refused(str(error)) if is_about_order else Unanswered(str(error))
        try:
            told = RepairAnswer.parse(answer.body, limit=REPAIR_ANSWER_BYTES_MAX)
            told.check_shape()
            if told.receipt is not None:
                check_receipt(told.receipt, order.ticket, self._home.network, self._clock.now())
                return Made(told.receipt)
        except HippyError as wrong:
            return Refused(f"an answer that is none: {wrong}")
        if told.failure == "mismatch":
            return Mismatch()
        named = {source.index for source in order.sources}
        if not named.issuperset(told.sources):
            return Refused("an answer that is none: it names sources that the order does not")
        return SourcesFailed(told.sources)
