"""Which miner holds which pieces, and which of them are lost.

A committed segment's pieces are held by the miners that its record names, until a later record says otherwise. A
miner that left the subnet has lost all it held: one record of the log says so, and its pieces are marked in portions
(:func:`mark_lost`), because there may be millions. Records that are shown to clients leave lost pieces out.

Databases of an older format know no holdings; :func:`index_holdings` adds them, in portions too, before anything
else happens.

Invariants: a piece is held by one miner or lost, never both; a departure takes only what was held before its record,
so a hotkey that registers again starts with nothing and keeps what it gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from hippy.ids import ID_BYTES, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.log import Home, append, position
from hippy.validator.tables import GONE, HOLDING, LOST, SEGMENT, STORED_BYTES_MAX, get_count, ordered, put_count
from hippy.wire.log import Departure
from hippy.wire.segment import SegmentRecord

INDEXED: Final = b"meta/holdings"
"""There once every committed segment's holdings are in the table; older databases have none."""

INDEXING: Final = b"meta/indexing"
"""u64 seq of the log's end ‖ key of the last segment that was looked at, while the table is being filled."""

_BEHIND: Final = b"\xff" * (ID_BYTES + 2)
"""Behind every piece of a miner, so that a scan goes on with the next miner."""


def remember_holdings(txn: Transaction, record: SegmentRecord, seq: int) -> None:
    """Note who holds the pieces of a segment since the log's record ``seq``."""
    for holding in record.holdings:
        put_count(txn, HOLDING + holding.miner + record.segment_id + bytes([holding.index]), seq)


def index_holdings(txn: Transaction, segments_max: int) -> int:
    """Note the holdings of up to ``segments_max`` segments in a database that was made before they were kept.

    Returns how many were looked at; fewer than ``segments_max`` says that all are known. Goes on where the last
    portion ended, in whatever process that was, but from the beginning when the log grew since: code that keeps no
    holdings may have committed segments in between.
    """
    if txn.get(INDEXED) is not None:
        return 0
    end, cursor = ordered(position(txn).seq), txn.get(INDEXING) or b""
    after = cursor[len(end) :] if cursor.startswith(end) else b""
    portion = list(islice(txn.scan(SEGMENT, after or None), segments_max))
    for _, value in portion:
        remember_holdings(txn, SegmentRecord.parse(value, limit=STORED_BYTES_MAX), 0)
    if len(portion) == segments_max:
        txn.put(INDEXING, end + portion[-1][0])
    else:
        txn.put(INDEXED, b"")
        txn.delete(INDEXING)
    return len(portion)


def holders(reader: Reader) -> Iterator[PublicKey]:
    """Yield every miner that holds a piece, in order; reads one key for each."""
    after = None
    while (found := next(reader.scan(HOLDING, after), None)) is not None:
        miner = found[0][len(HOLDING) : len(HOLDING) + ID_BYTES]
        yield PublicKey(miner)
        after = HOLDING + miner + _BEHIND


def depart(txn: Transaction, home: Home, hotkey: PublicKey, block: int, now: int) -> bool:
    """Record that a miner left the subnet, and return whether that was anything new.

    It is not when the miner holds nothing, or when a departure of it is recorded and still being worked off.
    """
    if txn.get(GONE + hotkey) is not None or next(txn.scan(HOLDING + hotkey), None) is None:
        return False
    put_count(txn, GONE + hotkey, append(txn, home, [Departure(hotkey=hotkey, block=block)], now))
    return True


def mark_lost(txn: Transaction, pieces_max: int) -> int:
    """Mark up to ``pieces_max`` pieces of miners that left as lost, and return how many were looked at."""
    looked_at = 0
    for key, _ in list(txn.scan(GONE)):
        hotkey, seq = key[len(GONE) :], get_count(txn, key)
        entries = list(islice(_held_before(txn, hotkey, seq), pieces_max - looked_at))
        for entry in entries:
            txn.put(LOST + entry[len(HOLDING) + ID_BYTES :], hotkey)
            txn.delete(entry)
        looked_at += len(entries)
        if looked_at == pieces_max:
            break
        txn.delete(key)
    return looked_at


def _held_before(reader: Reader, hotkey: bytes, seq: int) -> Iterator[bytes]:
    """Yield the keys of what a miner held before a record of the log."""
    for key, value in reader.scan(HOLDING + hotkey):
        if int.from_bytes(value, "little") < seq:
            yield key


def lost_indices(reader: Reader, segment_id: SegmentId) -> frozenset[int]:
    """Return which pieces of a segment are lost."""
    return frozenset(key[-1] for key, _ in reader.scan(LOST + segment_id))


def without_lost(reader: Reader, record: SegmentRecord) -> SegmentRecord:
    """Return a segment's record as clients should see it: without the holdings that are lost."""
    lost = lost_indices(reader, record.segment_id)
    if not lost:
        return record
    kept = tuple(holding for holding in record.holdings if holding.index not in lost)
    return record.model_copy(update={"holdings": kept})
