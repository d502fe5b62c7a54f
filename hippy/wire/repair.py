"""Repair on the wire: orders to rebuild or copy one piece, and a miner's wish to leave (docs/PROTOCOL.md §7).

A validator that knows a piece to be lost orders another miner to make it from k sealed pieces and one mask, or to copy
it from the miner that still has it. The order holds the new miner's :class:`~hippy.wire.ticket.Ticket`, so from then on
nothing tells a repaired piece from one that a client stored. The mask itself follows the order in the same request.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.endpoint import Endpoint
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import ProtocolError
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import Address, Count, Index, Key, RootId, Seconds, Segment
from hippy.wire.segment import Holding, K
from hippy.wire.ticket import Receipt, Ticket

ORDER_BYTES_MAX: Final = 96 * 1024
"""A canonical order: 255 sources of some 300 bytes, and the ticket."""

REPAIR_BYTES_MAX: Final = 4 + ORDER_BYTES_MAX + PIECE_LENGTH_MAX
"""The body of ``POST /v1/repair``: length, order, mask."""

REPAIR_ANSWER_BYTES_MAX: Final = 8 * 1024

DELIVERIES_MAX: Final = 2
"""Times that one miner is sent one order: a mask that could be had on demand would take the place of the piece."""


class RepairSource(Message):
    """A piece to read, and the miner that holds it."""

    TYPE = "repair-source"
    index: Index
    root: RootId
    miner: Key
    endpoint: Address


class RepairOrder(SignedMessage):
    """A validator's order to the ticket's miner to make the ticket's piece; signed by the ticket's validator.

    With ``mask_root``, the root of the mask as a piece has one, it is made of k others; without, the one source holds
    the piece itself and it is copied.
    """

    TYPE = "repair-order"
    ticket: Ticket
    k: K
    n: K
    sources: Annotated[tuple[RepairSource, ...], Field(min_length=1, max_length=255)]
    mask_root: RootId | None = None

    @property
    def is_copy(self) -> bool:
        """Whether the piece is read from a miner that has it."""
        return self.mask_root is None

    @property
    def read_bytes(self) -> int:
        """What the miner has to read, of all sources together; its deadline follows from it."""
        return len(self.sources) * self.ticket.piece_length

    def blob_lengths(self) -> tuple[int, ...]:
        """Return the length of the mask that follows, if one does (hippy.wire.parts)."""
        return () if self.is_copy else (self.ticket.piece_length,)

    def _places(self) -> list[tuple[bytes, bytes, Endpoint]]:
        return [(source.root, source.miner, source.endpoint) for source in self.sources]

    def check_shape(self) -> None:
        """Raises ProtocolError unless the sources are k other pieces of the segment, or the piece itself alone.

        Each is at a miner and an endpoint of its own: no order brings many connections to one address and port.
        """
        if not self.k <= self.n or self.ticket.index >= self.n:
            raise ProtocolError("a repair order's index is below n, and k is at most n")
        if self.is_copy:
            (only, *others) = self.sources
            if others or (only.index, only.root) != (self.ticket.index, self.ticket.root):
                raise ProtocolError("a copy has one source, which is the piece itself")
            return
        indices = {source.index for source in self.sources}
        distinct = [indices, *(set(column) for column in zip(*self._places(), strict=True))]
        sizes = {len(self.sources), *map(len, distinct)}
        if sizes != {self.k} or self.ticket.index in indices or max(indices) >= self.n:
            raise ProtocolError("a repair has k distinct sources, which are other pieces of its segment")


class RepairAnswer(Message):
    """What came of an order: the receipt, or why there is none.

    ``sources``: the pieces of these indices could not be had, or did not match their roots. ``mismatch``: all sources
    did, and what they make has another root.
    """

    TYPE = "repair-answer"
    receipt: Receipt | None = None
    failure: Literal["sources", "mismatch"] | None = None
    sources: Annotated[tuple[Index, ...], Field(max_length=255)] = ()

    def check_shape(self) -> None:
        """Raises ProtocolError unless there is either a receipt or a failure, and sources where they failed."""
        if (self.receipt is None) != (self.failure is not None) or bool(self.sources) != (self.failure == "sources"):
            raise ProtocolError("a repair is answered with a receipt or with one failure")


class Drain(SignedMessage):
    """A miner's word that it wants to leave, or ``stop``: wants to stay after all; ``POST /v1/drain``."""

    TYPE = "drain"
    miner: Key
    validator: Key
    action: Literal["start", "stop"]
    time: Seconds


class DrainAnswer(Message):
    """How many pieces, of how many bytes, the miner still holds at this validator; zero: it may leave."""

    TYPE = "drain-answer"
    pieces: Count
    bytes: Count


class PieceMoved(Message):
    """Body of a log record: from here on the holding's miner holds the piece (PROTOCOL §5.1, §7).

    ``drained`` is the miner whose holding ends here because it asked to leave; without it the piece had been lost.
    ``placement_round``, ``epoch`` and ``candidates_seq`` are what the new miner was drawn from.
    """

    TYPE = "piece-moved"
    segment_id: Segment
    root: RootId
    holding: Holding
    drained: Key | None = None
    placement_round: Count
    epoch: Count
    candidates_seq: Count


class SegmentFlawed(Message):
    """Body of a log record: piece ``index`` cannot be made of pieces whose roots are right, so whoever coded the
    segment coded it badly. No miner is to blame, and the piece is not repaired."""

    TYPE = "segment-flawed"
    segment_id: Segment
    index: Index
    sources: Annotated[tuple[Index, ...], Field(min_length=1, max_length=255)]
