"""The registry's log: append records, sign the head, verify a chain, give out pages (PROTOCOL §5.1).

Every change of the registry that others must be able to follow is one record; the tables of the other modules
are folds over them. ``prev`` chains each record to the one before, and the head's signature covers the whole
history. Followers read with :func:`scan_log` and check with :func:`verify_chain`.

A record names its body by id, and bodies that are not for everybody are kept beside the entries that are: a page for
strangers is made of stored bytes, without parsing any (256 segments of 24 pieces take 10 ms; parsed, they would take
400).

Example, as a stranger does it::

    page = LogPage.parse(raw, limit=LOG_PAGE_BYTES_MAX)
    at = verify_chain(page.entries, network, after=at)
    if page.head is not None:
        verify_head(page.head, at, home, network)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never, get_args

from hippy.errors import IntegrityError
from hippy.identity import Identity
from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.tables import HEAD, LOG, PRIVATE, STORED_BYTES_MAX, get_message, ordered, owner_of
from hippy.wire.log import (
    LOG_PAGE_BYTES_MAX,
    LOG_PAGE_MAX,
    AccountRecord,
    AllocationClosed,
    CandidateSet,
    Departure,
    Envelopes,
    Kind,
    LogEntry,
    LogHead,
    LogPage,
    LogRecord,
    Loss,
    SegmentReleased,
)
from hippy.wire.object import BucketRow, ObjectRow
from hippy.wire.repair import Drain, PieceMoved, SegmentFlawed
from hippy.wire.segment import SegmentRecord

TERM: Final = 1
"""Counts the moves of a home; accounts cannot move yet."""

KINDS: Final = get_args(Kind)
PRIVATE_KINDS: Final = frozenset({"account", "row", "bucket"})
"""Bodies that only validators see; of a segment it is the envelopes."""


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
    """The body of a ``segment`` record, and what is beside it."""

    record: SegmentRecord
    envelopes: Envelopes


Body = (
    AccountRecord
    | CandidateSet
    | CommittedSegment
    | ObjectRow
    | AllocationClosed
    | Departure
    | Loss
    | SegmentReleased
    | BucketRow
    | PieceMoved
    | Drain
    | SegmentFlawed
)


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
        entry = _entry(home, at, body, now)
        at = Position(entry.record.seq, entry.record.id(home.network))
        store_entry(txn, entry)
    if bodies:
        head = LogHead(home=home.hotkey, netuid=home.netuid, term=TERM, seq=at.seq, head=at.head)
        txn.put(HEAD, head.signed(home.identity, home.network).encode())
    return at.seq


def store_entry(txn: Transaction, entry: LogEntry) -> None:
    """Keep an entry with all its bodies; what is not for everybody beside what is."""
    key = ordered(entry.record.seq)
    txn.put(LOG + key, public(entry).encode())
    private = entry.account or entry.row or entry.bucket or entry.envelopes
    if private is not None:
        txn.put(PRIVATE + key, private.encode())


def read_head(reader: Reader) -> LogHead | None:
    """Return the signed head, or None for an empty log."""
    return get_message(reader, HEAD, LogHead)


def position(reader: Reader) -> Position:
    """Return where the log ends."""
    head = read_head(reader)
    return BEGINNING if head is None else Position(head.seq, head.head)


def read_entry(reader: Reader, seq: int) -> LogEntry:
    """Return one entry as everybody may see it; it must be there."""
    entry = get_message(reader, LOG + ordered(seq), LogEntry)
    assert entry is not None, "records are never removed"
    return entry


def scan_log(reader: Reader, after_seq: int = 0) -> Iterator[LogEntry]:
    """Yield the entries behind ``after_seq`` with all their bodies, in order."""
    for _, value in reader.scan(LOG, LOG + ordered(after_seq)):
        yield _whole(reader, LogEntry.parse(value, limit=STORED_BYTES_MAX))


def public(entry: LogEntry) -> LogEntry:
    """Return the entry as everybody may see it: without account, row, bucket and envelopes."""
    return entry.model_copy(update={"account": None, "row": None, "bucket": None, "envelopes": None})


def read_page(reader: Reader, after_seq: int) -> LogPage:
    """Return the page behind ``after_seq``, as :func:`encode_page` spells it."""
    return LogPage.parse(encode_page(reader, after_seq), limit=LOG_PAGE_BYTES_MAX)


def encode_page(reader: Reader, after_seq: int) -> bytes:
    """Return what strangers get of the log behind ``after_seq``: a LogPage in canonical spelling.

    At least one entry, if there are any, then as many as fit 256 and 8 MiB; with the head when they reach it. A
    stored entry is far below 1 MiB.
    """
    head = read_head(reader)
    home = owner_of(reader) if head is None else head.home
    opening, closing = b'{"entries":[', b',"home":"' + home.hex().encode() + b'"}'
    end = b"]" if head is None else b'],"head":' + head.encode()
    room = LOG_PAGE_BYTES_MAX - len(opening) - len(end) - len(closing) + 1
    entries, seq = list[bytes](), after_seq
    for key, value in reader.scan(LOG, LOG + ordered(after_seq)):
        room -= len(value) + 1  # and the comma, which the first does not need
        if room < 0 or len(entries) == LOG_PAGE_MAX:
            break
        entries.append(value)
        seq = int.from_bytes(key[len(LOG) :], "big")
    if head is not None and seq < head.seq:
        end = b"]"
    return opening + b",".join(entries) + end + closing


def verify_chain(entries: Iterable[LogEntry], network: bytes, *, after: Position = BEGINNING) -> Position:
    """Return where the log ends after checking that ``entries`` follow ``after``.

    A body may be missing where it is not for everybody. Nothing is checked within bodies, signatures neither.
    Raises IntegrityError naming the first record that does not fit.
    """
    at = after
    for entry in entries:
        record = entry.record
        if record.seq != at.seq + 1 or record.prev != at.head:
            raise IntegrityError(f"log record {record.seq} does not follow record {at.seq}")
        _check_bodies(entry, network)
        at = Position(record.seq, record.id(network))
    return at


def verify_head(head: LogHead, at: Position, home: PublicKey, network: bytes) -> None:
    """Check that ``head`` is signed by ``home`` and names the end of a verified log.

    Raises AuthError for a bad signature, IntegrityError when it names another record.
    """
    head.check_signature(home, network)
    if (head.home, head.seq, head.head) != (home, at.seq, at.head):
        raise IntegrityError(f"the log's head is record {head.seq}, its last record is another")


def _check_bodies(entry: LogEntry, network: bytes) -> None:
    """Raises IntegrityError unless the entry has the bodies that its record names, and no others."""
    record = entry.record
    if any(getattr(entry, kind) is not None for kind in KINDS if kind != record.kind):
        raise IntegrityError(f"log record {record.seq} has a body of another kind")
    if (record.envelopes_id is not None) != (record.kind == "segment"):
        raise IntegrityError(f"log record {record.seq} is not of a kind that names envelopes, or does not name them")
    body = getattr(entry, record.kind)
    if body is None and record.kind not in PRIVATE_KINDS:
        raise IntegrityError(f"log record {record.seq} is of kind {record.kind} and lacks its body")
    if body is not None and body.id(network) != record.body_id:
        raise IntegrityError(f"log record {record.seq} has another body than it names")
    if entry.envelopes is not None and entry.envelopes.id(network) != record.envelopes_id:
        raise IntegrityError(f"log record {record.seq} has other envelopes than it names")


def _entry(home: Home, at: Position, body: Body, now: int) -> LogEntry:
    main = body.record if isinstance(body, CommittedSegment) else body
    envelopes = body.envelopes if isinstance(body, CommittedSegment) else None
    kind = _kind_of(body)
    record = LogRecord(
        home=home.hotkey,
        term=TERM,
        seq=at.seq + 1,
        prev=at.head,
        time=now,
        kind=kind,
        body_id=main.id(home.network),
        envelopes_id=None if envelopes is None else envelopes.id(home.network),
    )
    return LogEntry(record=record, envelopes=envelopes).model_copy(update={kind: main})


def _kind_of(body: Body) -> Kind:  # noqa: C901, PLR0912 - one case for every kind, and mypy sees that none is missing
    match body:
        case AccountRecord():
            return "account"
        case CandidateSet():
            return "candidates"
        case CommittedSegment():
            return "segment"
        case ObjectRow():
            return "row"
        case AllocationClosed():
            return "closed"
        case Departure():
            return "departure"
        case Loss():
            return "loss"
        case SegmentReleased():
            return "released"
        case BucketRow():
            return "bucket"
        case PieceMoved():
            return "moved"
        case Drain():
            return "drain"
        case SegmentFlawed():
            return "flawed"
        case _:
            assert_never(body)


def _whole(reader: Reader, entry: LogEntry) -> LogEntry:
    """Return a stored entry with what is kept beside it."""
    key = PRIVATE + ordered(entry.record.seq)
    match entry.record.kind:
        case "account":
            return entry.model_copy(update={"account": get_message(reader, key, AccountRecord)})
        case "row":
            return entry.model_copy(update={"row": get_message(reader, key, ObjectRow)})
        case "bucket":
            return entry.model_copy(update={"bucket": get_message(reader, key, BucketRow)})
        case "segment":
            return entry.model_copy(update={"envelopes": get_message(reader, key, Envelopes)})
        case _:
            return entry
