"""Tickets and their grant, made from an allocation (PROTOCOL §3.1). Pure but for the signature's randomness.

Tickets are not stored: an allocation's places hold what is particular to each, and the same places give the same
tickets with the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from hippy.ids import MessageId
from hippy.validator.log import TERM, Home
from hippy.validator.tables import Allocation
from hippy.wire.segment import TicketList
from hippy.wire.ticket import Ticket, TicketGrant, tickets_root


def ticket(home: Home, allocation: Allocation, index: int) -> Ticket:
    """Return the current ticket of a piece."""
    place = allocation.places[index]
    return Ticket(
        serial=place.serial,
        network=home.network,
        netuid=home.netuid,
        validator=home.hotkey,
        term=TERM,
        account=allocation.account,
        segment_id=allocation.segment_id,
        index=index,
        root=allocation.spec.roots[index],
        piece_length=allocation.spec.piece_length,
        miner=place.miner,
        endpoint=place.endpoint,
        pay_class=allocation.pay_class,
        upload_by=allocation.upload_by,
        keep_until=allocation.keep_until,
    )


def ticket_id(home: Home, allocation: Allocation, index: int) -> MessageId:
    """Return the id of a piece's current ticket."""
    return ticket(home, allocation, index).id(home.network)


def tickets(home: Home, allocation: Allocation) -> list[Ticket]:
    """Return all current tickets, by index."""
    return [ticket(home, allocation, index) for index in range(allocation.spec.n)]


def grant(home: Home, granted: Sequence[Ticket], now: int) -> TicketList:
    """Return tickets under one signature."""
    unsigned = TicketGrant(
        validator=home.hotkey,
        tickets_root=tickets_root(granted, home.network),
        ticket_count=len(granted),
        time=now,
    )
    return TicketList(tickets=tuple(granted), grant=unsigned.signed(home.identity, home.network))
