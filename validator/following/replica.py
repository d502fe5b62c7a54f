"""What a follower keeps of another home: its log, the tables that follow from it, and how far both have come.

Below ``replica/<home>/`` lie the tables of hippy.validator.tables, and beside them:

==================  ====================================================================
key                 value
==================  ====================================================================
``at``              u64 seq ‖ id ‖ u64 Unix time: the newest record we have, since when
``signed/`` seq     log-head of that record, as the home signed it
``want/`` row id    nothing: a current row whose manifest has not come
==================  ====================================================================

A page is taken over in portions, so that other writers do not wait; each moves ``at`` with the tables, in one
transaction, so that a crash leaves no record half taken over. Everything is checked before
(hippy.validator.following.checking). Invariant: all records up to ``at`` are covered by a head that the home signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hippy.errors import TemporaryError
from hippy.hashing import u64
from hippy.ids import ID_BYTES, MessageId, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.following.checking import CheckedPage
from hippy.validator.following.fold import fold
from hippy.validator.following.views import ReaderBelow, TransactionBelow
from hippy.validator.log import BEGINNING, Position, read_entry, store_entry
from hippy.validator.tables import HEAD, get_message, ordered
from hippy.wire.log import LogEntry, LogHead
from hippy.wire.pace import Pace

REPLICA: Final = b"replica/"
AT: Final = b"at"
SIGNED: Final = b"signed/"
WANTED: Final = b"want/"

UNITS_MAX: Final = 1_024
"""What one transaction takes over, in holdings and named segments: some 20 ms of the only writer."""

HOLDINGS_USUAL: Final = 24
"""Of a segment that a record does not describe."""

HEADS_EVERY: Final = 16
"""Heads are kept for every so many records, where the home shows more: pages for others end at them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a log is followed, and since when (Unix seconds, 0: never)."""

    at: Position
    time: int


def prefix_of(home: PublicKey) -> bytes:
    """Return where a followed home's registry lies."""
    return REPLICA + home + b"/"


def reader_of(reader: Reader, home: PublicKey) -> ReaderBelow:
    """Return the registry of a followed home."""
    return ReaderBelow(reader, prefix_of(home))


def transaction_of(txn: Transaction, home: PublicKey) -> TransactionBelow:
    """Return the registry of a followed home, to be changed."""
    return TransactionBelow(txn, prefix_of(home))


def followed_homes(reader: Reader) -> Iterator[PublicKey]:
    """Yield the homes of which we have anything, in order; reads one key for each."""
    start, after = len(REPLICA), None
    while (found := next(reader.scan(REPLICA, after), None)) is not None:
        home = PublicKey(found[0][start : start + ID_BYTES])
        yield home
        after = REPLICA + home + b"0"  # behind "/"


def progress(replica: Reader) -> Progress:
    """Return how far a replica has come."""
    value = replica.get(AT)
    if value is None:
        return Progress(BEGINNING, 0)
    seq, time = int.from_bytes(value[:8], "little"), int.from_bytes(value[-8:], "little")
    return Progress(Position(seq, MessageId(value[8 : 8 + ID_BYTES])), time)


def newest_signed(replica: Reader) -> LogHead | None:
    """Return the newest head that the home signed of what we have."""
    return get_message(replica, HEAD, LogHead)


def signed_head(replica: Reader, seq: int) -> LogHead | None:
    """Return the head that the home signed of this record, where it is kept."""
    return get_message(replica, SIGNED + ordered(seq), LogHead)


def record_id(replica: Reader, seq: int, network: bytes) -> MessageId:
    """Return the id of a record that we have; zero for the one before the first."""
    return BEGINNING.head if seq == 0 else read_entry(replica, seq).record.id(network)


def lacks_manifests(replica: Reader) -> bool:
    """Return whether a current row's manifest has not come."""
    return next(replica.scan(WANTED), None) is not None


def portions(page: CheckedPage) -> Iterator[list[LogEntry]]:
    """Yield a page's entries in order, cut so that each portion is short enough for one transaction."""
    portion, units = list[LogEntry](), 0
    for entry in page.entries:
        units += _units(entry)
        if portion and units > UNITS_MAX:
            yield portion
            portion, units = [], _units(entry)
        portion.append(entry)
    if portion:
        yield portion


def take_over(
    replica: Transaction, *, page: CheckedPage, portion: Sequence[LogEntry], network: bytes, pace: Pace, now: int
) -> Position:
    """Take over a portion of a page that was checked to follow what is there; return how far that comes.

    Raises IntegrityError for a body that does not fit what is there, TemporaryError when the replica went on meanwhile.
    """
    at = progress(replica).at
    if portion[0].record.prev != at.head:
        raise TemporaryError("another process of this validator has followed the log meanwhile")
    for entry in portion:
        store_entry(replica, entry)
        manifest = page.manifests.get(entry.record.seq)
        fold(replica, entry, network, pace, manifest)
        _note_wanted(replica, entry, is_there=manifest is not None)
    last = portion[-1].record
    at = Position(last.seq, last.id(network))
    replica.put(AT, u64(at.seq) + at.head + u64(now))
    if page.head is not None:
        replica.put(SIGNED + ordered(page.head.seq), page.head.encode())
        if page.head.seq == at.seq:
            _keep_head(replica, page.head)
    return at


def _keep_head(replica: Transaction, head: LogHead) -> None:
    """Make a head the newest, and forget the one before where that is close to the one before it."""
    before = newest_signed(replica)
    replica.put(HEAD, head.encode())
    if before is not None and before.seq % HEADS_EVERY and head.seq // HEADS_EVERY == before.seq // HEADS_EVERY:
        replica.delete(SIGNED + ordered(before.seq))


def _note_wanted(replica: Transaction, entry: LogEntry, *, is_there: bool) -> None:
    if entry.row is None:
        return
    replica.delete(WANTED + entry.row.prev_row_id)
    if entry.row.action == "put" and not is_there:
        replica.put(WANTED + entry.record.body_id, b"")


def _units(entry: LogEntry) -> int:
    if entry.segment is not None:
        return len(entry.segment.holdings)
    if entry.released is not None:
        return HOLDINGS_USUAL
    if entry.row is not None:
        return 1 + len(entry.row.segment_ids)
    return 1 if entry.loss is None else len(entry.loss.pieces)
