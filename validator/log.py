"""The registry's log: append records, sign the head, verify a chain (PROTOCOL §5).

Every change of the registry that others must be able to follow is one record; the tables of the other modules
are folds over them. ``prev`` chains each record to the one before, and the head's signature covers the whole
history. Followers read with :func:`scan_log` and check with :func:`verify_chain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hippy.errors import IntegrityError
from hippy.identity import Identity
from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.tables import HEAD, LOG, STORED_BYTES_MAX, get_message, ordered
from hippy.wire.log import AccountRecord, AllocationClosed, CandidateSet, Departure, LogHead, LogRecord
from hippy.wire.object import ObjectRow
from hippy.wire.segment import SealEnvelope, SegmentRecord

TERM: Final = 1
"""Counts the moves of a home; accounts cannot move yet."""


@dataclass(frozen=True, slots=True)
class Home:
    """Who we are when we write: identity, network and subnet."""

    identity: Identity
    network: NetworkId
    netuid: int

    @property
    def hotkey(self) -> PublicKey:
        """Our public key."""
        return self.identity.public_key


@dataclass(frozen=True, slots=True)
class CommittedSegment:
    """The body of a ``segment`` record."""

    record: SegmentRecord
    envelopes: tuple[SealEnvelope, ...]


Body = AccountRecord | CandidateSet | CommittedSegment | ObjectRow | AllocationClosed | Departure


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log: the last record's number and id."""

    seq: int
    head: MessageId


BEGINNING: Final = Position(0, MessageId(ZERO_ID))
"""Before the first record."""


def append(txn: Transaction, home: Home, bodies: Sequence[Body], now: int) -> int:
    """Append a record per body and sign the new head; return the last record's seq."""
    at = position(txn)
    for body in bodies:
        record = _record(home, at, body, now)
        at = Position(record.seq, record.id(home.network))
        txn.put(LOG + ordered(at.seq), record.encode())
    if bodies:
        head = LogHead(home=home.hotkey, netuid=home.netuid, term=TERM, seq=at.seq, head=at.head)
        txn.put(HEAD, head.signed(home.identity, home.network).encode())
    return at.seq


def read_head(reader: Reader) -> LogHead | None:
    """Return the signed head, or None for an empty log."""
    return get_message(reader, HEAD, LogHead)


def position(reader: Reader) -> Position:
    """Return where the log ends."""
    head = read_head(reader)
    return BEGINNING if head is None else Position(head.seq, head.head)


def scan_log(reader: Reader, after_seq: int = 0) -> Iterator[LogRecord]:
    """Yield the records behind ``after_seq``, in order."""
    for _, value in reader.scan(LOG, LOG + ordered(after_seq)):
        yield LogRecord.parse(value, limit=STORED_BYTES_MAX)


def verify_chain(records: Iterable[LogRecord], network: bytes, *, after: Position = BEGINNING) -> Position:
    """Return where the log ends after checking that ``records`` follow ``after``.

    Raises IntegrityError naming the first record that does not fit.
    """
    at = after
    for record in records:
        if record.seq != at.seq + 1 or record.prev != at.head:
            raise IntegrityError(f"log record {record.seq} does not follow record {at.seq}")
        if not _has_its_body(record):
            raise IntegrityError(f"log record {record.seq} is not of the kind it says")
        at = Position(record.seq, record.id(network))
    return at


def verify_head(head: LogHead, at: Position, home: PublicKey, network: bytes) -> None:
    """Check that ``head`` is signed by ``home`` and names the end of a verified log.

    Raises AuthError for a bad signature, IntegrityError when it names another record.
    """
    head.check_signature(home, network)
    if (head.home, head.seq, head.head) != (home, at.seq, at.head):
        raise IntegrityError(f"the log's head is record {head.seq}, its last record is another")


def _record(home: Home, at: Position, body: Body, now: int) -> LogRecord:
    blank = LogRecord(home=home.hotkey, term=TERM, seq=at.seq + 1, prev=at.head, time=now, kind="row")
    match body:
        case AccountRecord():
            return blank.model_copy(update={"kind": "account", "account": body})
        case CandidateSet():
            return blank.model_copy(update={"kind": "candidates", "candidates": body})
        case CommittedSegment(record, envelopes):
            return blank.model_copy(update={"kind": "segment", "segment": record, "envelopes": envelopes})
        case ObjectRow():
            return blank.model_copy(update={"row": body})
        case AllocationClosed():
            return blank.model_copy(update={"kind": "closed", "closed": body})
        case Departure():
            return blank.model_copy(update={"kind": "departure", "departure": body})


def _has_its_body(record: LogRecord) -> bool:
    bodies = ("account", "candidates", "segment", "row", "closed", "departure")
    present = [kind for kind in bodies if getattr(record, kind) is not None]
    return present == [record.kind] and (record.envelopes is not None) == (record.kind == "segment")
