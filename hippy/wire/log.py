"""The registry's log: hash-chained records and the signed head (docs/PROTOCOL.md §5).

Everything a registry knows is a fold over these records, so a follower or a rebuilt index needs nothing else
but the manifests. Each record's ``prev`` is the id of the one before it (zero for the first), and the head's
signature therefore covers the whole history. A record names its body by id, so that strangers can check the chain
without the bodies that are not theirs to read.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.errors import ProtocolError
from hippy.wire.attestation import ATTESTERS_MAX, Attestation
from hippy.wire.audit import LostReport
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, U32, Count, Index, Key, Message32, RootId, Seconds, Segment, Text
from hippy.wire.home import HomeChange
from hippy.wire.node import MINERS_MAX
from hippy.wire.object import BucketRow, Drop, ObjectRow
from hippy.wire.repair import Drain, PieceMoved, SegmentFlawed
from hippy.wire.segment import SealEnvelope, SegmentRecord
from hippy.wire.ticket import PayClass

LOG_PAGE_MAX: Final = 256
LOG_PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
LOST_PIECES_MAX: Final = 1_024
"""Pieces in one loss record; a miner that lost more gets several."""


class AccountRecord(Message):
    """An account's class and quota, as its home's operator set them."""

    TYPE = "account-record"
    account: Key
    pay_class: PayClass
    quota_bytes: Count


class Candidate(Message):
    """A miner that placement may choose, with its integer weight."""

    TYPE = "candidate"
    hotkey: Key
    coldkey: Key
    group: Text
    weight: Annotated[int, Field(ge=1, le=2**32)]


class CandidateSet(Message):
    """The miners that placements from here on were drawn from, sorted by hotkey."""

    TYPE = "candidate-set"
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=MINERS_MAX)]


class Envelopes(Message):
    """A committed segment's seal key, encrypted to validators."""

    TYPE = "envelopes"
    envelopes: Annotated[tuple[SealEnvelope, ...], Field(min_length=1, max_length=3)]


class AllocationClosed(Message):
    """No commit of this segment is accepted any more (PROTOCOL §3.3)."""

    TYPE = "allocation-closed"
    segment_id: Segment
    upload_by: Seconds


class Departure(Message):
    """A miner that the metagraph no longer shows: every piece it held before this record is lost (PROTOCOL §5.1).

    ``block`` is the metagraph's. A hotkey that registers again starts with no pieces.
    """

    TYPE = "departure"
    hotkey: Key
    block: Count


class SegmentReleased(Message):
    """A segment that is owed no longer: every holding of it that has not ended ends here (PROTOCOL §4.2).

    ``deleted`` carries the account's drop. ``expired`` is the ticket's keep_until, ``lapsed`` a lease without a row.
    """

    TYPE = "segment-released"
    segment_id: Segment
    reason: Literal["deleted", "lapsed", "expired"]
    drop: Drop | None = None

    def check_shape(self) -> None:
        """Raises ProtocolError unless there is a drop of this segment where the reason is deleted, and only there."""
        if (self.drop is not None) != (self.reason == "deleted"):
            raise ProtocolError("a released segment carries a drop when its reason is deleted, and only then")
        if self.drop is not None and self.drop.segment_id != self.segment_id:
            raise ProtocolError("the drop is of another segment")


LossReason = Literal["reported", "failed", "unanswered"]


class LostPiece(Message):
    """One holding that ended; ``root`` is the piece's, so that audits can be checked without the segment."""

    TYPE = "lost-piece"
    segment_id: Segment
    index: Index
    root: RootId


class Loss(Message):
    """Pieces that a miner holds no more, and how that is known (PROTOCOL §5.1).

    ``reported``: its own report, which came when ``round`` was the newest beacon round. ``failed`` and ``unanswered``:
    batch ``batch`` of epoch ``epoch``, one of whose leaves was not shown, or which was never answered. With the last
    come ``attestations`` of other validators where the home's word alone is not enough.
    """

    TYPE = "loss"
    miner: Key
    reason: LossReason
    pieces: Annotated[tuple[LostPiece, ...], Field(min_length=1, max_length=LOST_PIECES_MAX)]
    report: LostReport | None = None
    round: Count | None = None
    epoch: Count | None = None
    batch: U32 | None = None
    attestations: Annotated[tuple[Attestation, ...], Field(min_length=1, max_length=ATTESTERS_MAX)] | None = None

    def check_shape(self) -> None:
        """Raises ProtocolError unless the fields are those of the reason, and the pieces distinct."""
        told = (self.report is not None, self.round is not None, self.epoch is not None, self.batch is not None)
        is_reported = self.reason == "reported"
        if told != (is_reported, is_reported, not is_reported, not is_reported):
            raise ProtocolError(f"a loss that is {self.reason} does not tell these things")
        if self.attestations is not None and self.reason != "unanswered":
            raise ProtocolError("attestations are about silence, and so is their loss")
        if len({(piece.segment_id, piece.index) for piece in self.pieces}) != len(self.pieces):
            raise ProtocolError("a loss names each piece once")


Kind = Literal[
    "account",
    "candidates",
    "segment",
    "row",
    "closed",
    "departure",
    "loss",
    "released",
    "bucket",
    "moved",
    "drain",
    "flawed",
    "home",
]


class LogRecord(Message):
    """One step of a registry: which body it has, by that body's id, and what it follows."""

    TYPE = "log-record"
    home: Key
    term: U32
    seq: Count
    prev: Message32
    time: Seconds
    kind: Kind
    body_id: Message32
    envelopes_id: Message32 | None = None


class LogEntry(Message):
    """A record with its body, or without where the body is not for everybody; ``envelopes`` are beside a segment."""

    TYPE = "log-entry"
    record: LogRecord
    account: AccountRecord | None = None
    candidates: CandidateSet | None = None
    segment: SegmentRecord | None = None
    row: ObjectRow | None = None
    closed: AllocationClosed | None = None
    departure: Departure | None = None
    loss: Loss | None = None
    released: SegmentReleased | None = None
    bucket: BucketRow | None = None
    moved: PieceMoved | None = None
    drain: Drain | None = None
    flawed: SegmentFlawed | None = None
    home: HomeChange | None = None
    envelopes: Envelopes | None = None


class LogHead(SignedMessage):
    """The newest record of a home's log."""

    TYPE = "log-head"
    home: Key
    netuid: U16
    term: U32
    seq: Count
    head: Message32


class LogPage(Message):
    """``GET /v1/log``: entries in order, and the head once they reach it; bodies for validators only are left out."""

    TYPE = "log-page"
    home: Key
    entries: Annotated[tuple[LogEntry, ...], Field(max_length=LOG_PAGE_MAX)]
    head: LogHead | None = None
