"""Segments on the wire: allocation, commit and the public record (docs/PROTOCOL.md §2, §3).

A client shows a validator the roots of a segment's n pieces, gets a ticket for each, and returns the miners'
receipts with envelopes of the seal key. What the validator then stores, and anybody may read, is the
:class:`SegmentRecord`.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import ProtocolError
from hippy.hashing import dk, keyed, u32, u64
from hippy.ids import Root, SegmentId
from hippy.wire.canonical import Message
from hippy.wire.copies import Acks
from hippy.wire.fields import (
    U32,
    Bytes16,
    Count,
    EnvelopeBytes,
    Index,
    Key,
    Message32,
    RootId,
    Seconds,
    Segment,
    Signature,
)
from hippy.wire.ticket import TICKETS_MAX, PayClass, PieceLength, Receipt, Refusal, Ticket, TicketGrant

SEGMENTS_MAX: Final = 64
"""Segments in one allocation or commit."""

SEGMENT_READS_MAX: Final = 256
"""Segment ids in one request for records."""

ALLOCATE_BYTES_MAX: Final = 2 * 1024 * 1024
COMMIT_BYTES_MAX: Final = 8 * 1024 * 1024
TICKETS_BYTES_MAX: Final = 24 * 1024 * 1024
RECORDS_BYTES_MAX: Final = 32 * 1024 * 1024
DATA_LENGTH_MAX: Final = 255 * PIECE_LENGTH_MAX

K = Annotated[int, Field(ge=1, le=255)]
Roots = Annotated[tuple[RootId, ...], Field(min_length=1, max_length=255)]
DataLength = Annotated[int, Field(ge=1, le=DATA_LENGTH_MAX)]


class SegmentSpec(Message):
    """What a segment's id is made of, besides the account."""

    TYPE = "segment-spec"
    nonce: Bytes16
    roots: Roots
    data_length: DataLength
    piece_length: PieceLength
    k: K
    n: K

    def check_shape(self) -> None:
        """Raises ProtocolError unless the numbers fit each other and the roots are distinct."""
        if not self.k <= self.n == len(self.roots) == len(set(self.roots)):
            raise ProtocolError("a segment has n distinct roots, and k is at most n")
        if self.piece_length != -(-self.data_length // self.k):
            raise ProtocolError("piece_length is data_length / k, rounded up")

    def segment_id(self, account: bytes) -> SegmentId:
        """Return the id of PROTOCOL §2, which commits to everything a reader relies on."""
        return SegmentId(
            keyed(
                dk("segment"),
                account,
                self.nonce,
                *self.roots,
                u64(self.data_length),
                u32(self.piece_length),
                bytes([self.k, self.n]),
            )
        )


class AllocateRequest(Message):
    """``POST /v1/allocate``, by the account."""

    TYPE = "allocate"
    request_id: Bytes16
    account: Key
    segments: Annotated[tuple[SegmentSpec, ...], Field(min_length=1, max_length=SEGMENTS_MAX)]
    upload_by: Seconds
    keep_until: Seconds | None = None


class TicketList(Message):
    """The answer to an allocation or a re-allocation: tickets under one grant, in the request's order."""

    TYPE = "ticket-list"
    tickets: Annotated[tuple[Ticket, ...], Field(min_length=1, max_length=TICKETS_MAX)]
    grant: TicketGrant


class FailedPiece(Message):
    """A piece that could not be stored where its ticket says; the miner's refusal if it gave one."""

    TYPE = "failed-piece"
    index: Index
    ticket_id: Message32
    refusal: Refusal | None = None


class ReallocateRequest(Message):
    """``POST /v1/reallocate``: new tickets for pieces whose miners failed."""

    TYPE = "reallocate"
    request_id: Bytes16
    account: Key
    segment_id: Segment
    pieces: Annotated[tuple[FailedPiece, ...], Field(min_length=1, max_length=255)]


class Holding(Message):
    """One piece's holder: the fields of its receipt that the record does not already say."""

    TYPE = "holding"
    index: Index
    ticket_id: Message32
    miner: Key
    time: Seconds
    signature: Signature

    def receipt(self, root: Root, piece_length: int) -> Receipt:
        """Return the whole receipt, whose signature anybody can check."""
        return Receipt(
            ticket_id=self.ticket_id,
            root=root,
            piece_length=piece_length,
            miner=self.miner,
            time=self.time,
            signature=self.signature,
        )


Holdings = Annotated[tuple[Holding, ...], Field(min_length=1, max_length=255)]


class SealEnvelope(Message):
    """A segment's seal key, encrypted to one validator's EncryptionKey."""

    TYPE = "seal-envelope"
    validator: Key
    key_id: U32
    ciphertext: EnvelopeBytes


class SegmentCommit(Message):
    """One segment's receipts and envelopes."""

    TYPE = "segment-commit"
    segment_id: Segment
    holdings: Holdings
    envelopes: Annotated[tuple[SealEnvelope, ...], Field(min_length=1, max_length=3)]


class CommitRequest(Message):
    """``POST /v1/commit``, by the account; all segments are committed or none."""

    TYPE = "commit"
    request_id: Bytes16
    account: Key
    segments: Annotated[tuple[SegmentCommit, ...], Field(min_length=1, max_length=SEGMENTS_MAX)]


class CommitAnswer(Message):
    """The commit is durable on ``copies`` validators: its home and followers, whose word ``acks`` shows."""

    TYPE = "commit-answer"
    copies: Count
    acks: Acks = ()


class SegmentRecord(Message):
    """A committed segment, as the registry keeps it and anybody may read it.

    ``placement_round`` and ``candidates_seq`` name the beacon round and the log record of the candidate set
    from which the holders were drawn. Pieces that are lost have no holding, and all can be.
    """

    TYPE = "segment-record"
    account: Key
    spec: SegmentSpec
    pay_class: PayClass
    keep_until: Seconds | None = None
    committed_time: Seconds
    placement_round: Count
    candidates_seq: Count
    holdings: Annotated[tuple[Holding, ...], Field(max_length=255)]

    @property
    def segment_id(self) -> SegmentId:
        """The id recomputed from the record itself; compare it with the one asked for."""
        return self.spec.segment_id(self.account)


class SegmentsRequest(Message):
    """``POST /v1/segments``: records by id."""

    TYPE = "segments-request"
    segment_ids: Annotated[tuple[Segment, ...], Field(min_length=1, max_length=SEGMENT_READS_MAX)]


class SegmentsAnswer(Message):
    """The records that exist, in the request's order; unknown ids are left out."""

    TYPE = "segments-answer"
    segments: Annotated[tuple[SegmentRecord, ...], Field(max_length=SEGMENT_READS_MAX)]
