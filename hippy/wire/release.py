"""How an obligation ends: drops, releases and inventories (docs/PROTOCOL.md §4.2).

A miner keeps a piece until the validator that issued its ticket releases it. An account says by a :class:`Drop` that
it needs a segment no longer; the registry ends the segment by a log record; a miner that asks about its tickets
(:class:`InventoryRequest`) is given the :class:`Release` of each that ended. No answer, or "unknown", means keep.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.errors import AuthError, ProtocolError
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS, Message, SignedMessage
from hippy.wire.fields import Bytes16, Count, Index, Key, Message32, RootId, Seconds, Segment
from hippy.wire.object import Drop
from hippy.wire.pace import DAY, Pace
from hippy.wire.ticket import Receipt, Ticket

RELEASE_BYTES_MAX: Final = 2_048
"""A canonical Release with its drop has some 1,200 bytes."""

INVENTORY_MAX: Final = 256
"""Tickets in one page of an inventory."""

INVENTORY_BYTES_MAX: Final = 96 * 1024
INVENTORY_ANSWER_BYTES_MAX: Final = 640 * 1024
UNCOMMITTED_SECONDS: Final = 3_600
"""After upload_by; commits have been refused for 50 minutes then."""

LEASES_MAX: Final = 256
"""Segments in one renewal of leases."""

UPLOAD_SECONDS_MAX: Final = DAY
"""upload_by is at most this far ahead of the allocation, so no commit is older than upload_by less this."""

ReleaseReason = Literal["deleted", "lapsed", "expired", "uncommitted", "moved"]


class Release(SignedMessage):
    """The end of one obligation, signed by the validator that issued its ticket.

    ``seq`` is the record of that validator's log that ended it; ``drop`` is there for the reason ``deleted`` only,
    ``receipt``, of the miner that holds the piece now, for ``moved``.
    """

    TYPE = "release"
    validator: Key
    miner: Key
    ticket_id: Message32
    segment_id: Segment
    index: Index
    root: RootId
    reason: ReleaseReason
    seq: Count
    drop: Drop | None = None
    receipt: Receipt | None = None
    time: Seconds

    def check(self, ticket: Ticket, network: bytes, now: int, pace: Pace) -> None:
        """Check that this ends the obligation of ``ticket``; pure, two signatures at most.

        Raises ProtocolError when it is about another obligation or lacks evidence, AuthError when it is not signed by
        who issued the ticket, or its drop not by the account.
        """
        named = (self.validator, self.miner, self.ticket_id, self.segment_id, self.index, self.root)
        owed = (ticket.validator, ticket.miner, ticket.id(network), ticket.segment_id, ticket.index, ticket.root)
        if named != owed:
            raise ProtocolError("the release is about another obligation")
        if self.time > now + CLOCK_TOLERANCE_SECONDS:
            raise ProtocolError("the release is from the future", hint="check both clocks (NTP)")
        self._check_reason(ticket, network, pace)
        self.check_signature(ticket.validator, network)

    def _check_reason(self, ticket: Ticket, network: bytes, pace: Pace) -> None:
        if (self.drop is not None) != (self.reason == "deleted"):
            raise ProtocolError("a release carries a drop when its reason is deleted, and only then")
        if (self.receipt is not None) != (self.reason == "moved"):
            raise ProtocolError("a release carries a receipt when its reason is moved, and only then")
        match self.reason:
            case "deleted":
                assert self.drop is not None
                if (self.drop.account, self.drop.segment_id) != (ticket.account, ticket.segment_id):
                    raise AuthError("the drop in the release is about another segment or account")
                self._not_before(self.drop.time + pace.drop_grace_seconds)
                self.drop.check_signature(ticket.account, network)
            case "lapsed":
                self._not_before(ticket.upload_by - UPLOAD_SECONDS_MAX + pace.lease_seconds)
            case "expired":
                if ticket.keep_until is None:
                    raise ProtocolError("the release says expired of a ticket without keep_until")
                self._not_before(ticket.keep_until)
            case "uncommitted":
                self._not_before(ticket.upload_by + UNCOMMITTED_SECONDS)
            case "moved":
                assert self.receipt is not None
                self._check_moved(self.receipt, ticket, network)

    def _check_moved(self, receipt: Receipt, ticket: Ticket, network: bytes) -> None:
        """Check that another miner has the same bytes, by its own word."""
        if (receipt.root, receipt.piece_length) != (ticket.root, ticket.piece_length):
            raise ProtocolError("the receipt in the release is for other bytes")
        if receipt.miner == ticket.miner or receipt.ticket_id == self.ticket_id:
            raise ProtocolError("the receipt in the release is the miner's own")
        self._not_before(receipt.time)
        receipt.check_signature(receipt.miner, network)

    def _not_before(self, earliest: int) -> None:
        if self.time < earliest:
            raise ProtocolError(f"the release comes {earliest - self.time} s too early for its reason")


class OwedTicket(Message):
    """One obligation that a miner asks about."""

    TYPE = "owed-ticket"
    ticket_id: Message32
    segment_id: Segment
    index: Index
    root: RootId


class InventoryRequest(Message):
    """``POST /v1/inventory``, by the miner: what has become of these obligations?"""

    TYPE = "inventory"
    miner: Key
    tickets: Annotated[tuple[OwedTicket, ...], Field(min_length=1, max_length=INVENTORY_MAX)]


class TicketState(Message):
    """What the issuer says of one ticket; ``released`` carries the release. Unknown means keep, as live does."""

    TYPE = "ticket-state"
    state: Literal["live", "released", "unknown"]
    release: Release | None = None


class InventoryAnswer(Message):
    """A state for every ticket of the request, in its order."""

    TYPE = "inventory-answer"
    states: Annotated[tuple[TicketState, ...], Field(min_length=1, max_length=INVENTORY_MAX)]


class LeaseRequest(Message):
    """``POST /v1/leases``, by the account: keep these committed segments, whose rows are still to come."""

    TYPE = "lease"
    request_id: Bytes16
    account: Key
    segment_ids: Annotated[tuple[Segment, ...], Field(min_length=1, max_length=LEASES_MAX)]


class LeaseAnswer(Message):
    """Until when each segment is kept without a row, in the request's order; 0 where a row names it."""

    TYPE = "lease-answer"
    until: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=LEASES_MAX)]
