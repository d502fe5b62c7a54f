"""The registry's log: hash-chained records and the signed head (docs/PROTOCOL.md §5).

Everything a registry knows is a fold over these records, so a follower or a rebuilt index needs nothing else
but the manifests. Each record's ``prev`` is the id of the one before it (zero for the first), and the head's
signature therefore covers the whole history.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, U32, Count, Key, Message32, Seconds, Segment, Text
from hippy.wire.node import MINERS_MAX
from hippy.wire.object import ObjectRow
from hippy.wire.segment import SealEnvelope, SegmentRecord
from hippy.wire.ticket import PayClass


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


class LogRecord(Message):
    """One step of a registry; exactly one body field is present, the one ``kind`` names."""

    TYPE = "log-record"
    home: Key
    term: U32
    seq: Count
    prev: Message32
    time: Seconds
    kind: Literal["account", "candidates", "segment", "row", "closed", "departure"]
    account: AccountRecord | None = None
    candidates: CandidateSet | None = None
    segment: SegmentRecord | None = None
    envelopes: Annotated[tuple[SealEnvelope, ...], Field(max_length=3)] | None = None
    row: ObjectRow | None = None
    closed: AllocationClosed | None = None
    departure: Departure | None = None


class LogHead(SignedMessage):
    """The newest record of a home's log."""

    TYPE = "log-head"
    home: Key
    netuid: U16
    term: U32
    seq: Count
    head: Message32
