"""The end of segments: released records, and all that follows from one (PROTOCOL §4.2, §5.1).

Functions on a transaction. A segment whose time has come (hippy.validator.leases) gets a record ``released``. With it
every holding of the segment that has not ended ends, without being lost; the account gets its charge back; and no row,
lease, commit or allocation may name the segment again. The segment's record stays: miners ask about its tickets
(hippy.validator.inventory), and clients still read what miners keep for a while.

Example, as the sweep does it::

    while await database.transact(lambda txn: release_due(txn, home, now, RELEASES_MAX)):
        pass
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.accounts import refund
from hippy.validator.allocation import charged_bytes
from hippy.validator.holdings import end_released, periods
from hippy.validator.leases import Due, due, end, get_life
from hippy.validator.log import Home, append, read_entry
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import ENVELOPES, FORMER, get_message, get_segment, ordered
from hippy.wire.log import SegmentReleased
from hippy.wire.segment import Holding

RELEASES_MAX: Final = 32
"""Segments released in one transaction: some 800 holdings, 20 ms; other writers wait no longer."""


def release_due(txn: Transaction, home: Home, now: int, limit: int) -> int:
    """Release up to ``limit`` segments whose time has come; return how many, 0 when none is left.

    A segment that is due for two reasons is released for the earlier one.
    """
    found = due(txn, now, limit)
    release(txn, home, found, now)
    return len(found)


def release(txn: Transaction, home: Home, segments: Sequence[Due], now: int) -> None:
    """Release committed segments, each once, with a record for each."""
    bodies = [SegmentReleased(segment_id=each.segment_id, reason=each.reason, drop=each.drop) for each in segments]
    for body in bodies:
        body.check_shape()
    last_seq = append(txn, home, bodies, now)
    for seq, each in enumerate(segments, last_seq - len(segments) + 1):
        fold_released(txn, each.segment_id, seq)


def fold_released(txn: Transaction, segment_id: SegmentId, seq: int) -> None:
    """End a committed segment that the log's record ``seq`` releases, and all that follows from it."""
    record = get_segment(txn, segment_id)
    assert record is not None, "what was committed is kept"
    end(txn, segment_id, seq)
    end_released(txn, record, seq)
    refund(txn, record.account, charged_bytes([record.spec]))
    txn.delete(ENVELOPES + segment_id)
    count(txn, Statistic.SEGMENTS, -1)
    count(txn, Statistic.RELEASED, 1)


def released_at(
    reader: Reader, miner: PublicKey, root: Root, since_seq: int, *, by_seq: int | None = None
) -> MessageId | None:
    """Return the body id of the newest record that ended a miner's holding of a root, if all were released, or moved.

    Moved because the miner drained, that is: one that lost a piece is not excused by its having been made again.
    Looked at are the holdings of that root, for whatever segment, that the miner had as of the log's record
    ``since_seq``. None when there was none, when one has not ended, or when one ended by a loss or a departure: then
    the bytes are owed, or their loss is the miner's. Releases behind the record ``by_seq`` have not come yet. (Reason 0
    of voids, PROTOCOL §5.4.)
    """
    ended = list(_ends(reader, miner, root, since_seq))
    if not ended or None in ended:
        return None
    last_seq = max(seq for seq in ended if seq is not None)
    if by_seq is not None and last_seq > by_seq:
        return None
    return MessageId(read_entry(reader, last_seq).record.body_id)


def _ends(reader: Reader, miner: PublicKey, root: Root, since_seq: int) -> Iterator[int | None]:
    """Yield the record that ended each holding of a root as of a record; None where that was no release or move."""
    for segment_id, index, until_seq in periods(reader, miner, root, since_seq):
        life = get_life(reader, segment_id)
        is_released = life is not None and life.is_released and life.released_seq == until_seq
        is_excused = is_released or _was_moved(reader, miner, segment_id, index, until_seq)
        yield until_seq if is_excused else None


def _was_moved(reader: Reader, miner: PublicKey, segment_id: SegmentId, index: int, until_seq: int) -> bool:
    """Whether this record ended a holding by handing its piece over, the miner wanting to leave."""
    former = get_message(reader, FORMER + segment_id + bytes([index]) + ordered(until_seq), Holding)
    return until_seq > 0 and former is not None and former.miner == miner
