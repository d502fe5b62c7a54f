"""The right to store one piece, and what a miner answers to it (docs/PROTOCOL.md §3.1, §3.2).

A validator signs all tickets of one allocation at once, over their Merkle root. A client shows a miner one
ticket with its path (:class:`TicketProof`); the miner learns nothing of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import AuthError
from hippy.hashing import dk, keyed
from hippy.ids import MessageId
from hippy.proofs.ranges import fold
from hippy.proofs.tree import TreeHasher, parents, top_of
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import (
    U16,
    U32,
    Address,
    Bytes32,
    Count,
    Index,
    Key,
    Message32,
    Network,
    RootId,
    Seconds,
    Segment,
)

TICKET_HEADER: Final = "X-Hippy-Ticket"
REFUSAL_HEADER: Final = "X-Hippy-Refusal"
TICKET_BYTES_MAX: Final = 7168
"""A ticket with its path, in one header."""

TICKETS_MAX: Final = 64 * 255
"""64 segments in one allocation, 255 pieces each."""

TICKET_HASHER: Final = TreeHasher(
    leaf=lambda ticket_id: keyed(dk("ticket-leaf"), ticket_id),
    node=lambda left, right: keyed(dk("ticket-node"), left, right),
)

PayClass = Literal["paid", "unpaid", "canary"]
PieceLength = Annotated[int, Field(ge=1, le=PIECE_LENGTH_MAX)]


class Ticket(Message):
    """A validator's order to one miner to store one piece; without ``keep_until``, until released."""

    TYPE = "ticket"
    serial: Count
    network: Network
    netuid: U16
    validator: Key
    term: U32
    account: Key
    segment_id: Segment
    index: Index
    root: RootId
    piece_length: PieceLength
    miner: Key
    endpoint: Address
    pay_class: PayClass
    upload_by: Seconds
    keep_until: Seconds | None = None


class TicketGrant(SignedMessage):
    """The signature that makes a list of tickets valid."""

    TYPE = "ticket-grant"
    validator: Key
    tickets_root: Bytes32
    ticket_count: Annotated[int, Field(ge=1, le=TICKETS_MAX)]
    time: Seconds


class TicketProof(Message):
    """One ticket, its path to the grant's root, and the grant: the ``X-Hippy-Ticket`` header."""

    TYPE = "ticket-proof"
    ticket: Ticket
    position: U16
    siblings: Annotated[tuple[Bytes32, ...], Field(max_length=14)]
    grant: TicketGrant

    def check(self, network: bytes) -> MessageId:
        """Return the ticket's id after checking path and signature.

        Whether the validator may give out tickets at all is the miner's question to the chain.
        Raises AuthError when the grant does not cover the ticket, ProtocolError for an impossible path.
        """
        ticket_id = self.ticket.id(network)
        leaves = [TICKET_HASHER.leaf(ticket_id)]
        top = fold(leaves, self.position, self.grant.ticket_count, list(self.siblings), TICKET_HASHER)
        if top != self.grant.tickets_root or self.grant.validator != self.ticket.validator:
            raise AuthError("the grant does not cover this ticket")
        self.grant.check_signature(self.ticket.validator, network)
        return ticket_id


def tickets_root(tickets: Sequence[Ticket], network: bytes) -> bytes:
    """Return the Merkle root a grant over ``tickets``, in this order, names."""
    return top_of(_leaves(tickets, network), TICKET_HASHER)


def prove_tickets(tickets: Sequence[Ticket], grant: TicketGrant, network: bytes) -> list[TicketProof]:
    """Return each ticket with its path; the tree is built once for all of them."""
    levels = [_leaves(tickets, network)]
    while len(levels[-1]) > 1:
        levels.append(parents(levels[-1], TICKET_HASHER))
    return [
        TicketProof(ticket=ticket, position=position, siblings=_path(levels, position), grant=grant)
        for position, ticket in enumerate(tickets)
    ]


def _path(levels: Sequence[Sequence[bytes]], position: int) -> tuple[bytes, ...]:
    """Return the siblings on the way up from a leaf; a promoted node has none."""
    places = ((level, (position >> height) ^ 1) for height, level in enumerate(levels))
    return tuple(level[place] for level, place in places if place < len(level))


def _leaves(tickets: Sequence[Ticket], network: bytes) -> list[bytes]:
    return [TICKET_HASHER.leaf(ticket.id(network)) for ticket in tickets]


class Receipt(SignedMessage):
    """A miner's word that it has the piece, durably."""

    TYPE = "receipt"
    ticket_id: Message32
    root: RootId
    piece_length: PieceLength
    miner: Key
    time: Seconds


class Refusal(SignedMessage):
    """A miner's signed no to a valid ticket: evidence that another miner is needed (PROTOCOL §3.1)."""

    TYPE = "refusal"
    ticket_id: Message32
    miner: Key
    code: Literal["no_space", "rate_limited", "temporary"]
    time: Seconds
