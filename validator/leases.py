"""How long a committed segment is kept: leases, the rows that name it, drops, keep_until (PROTOCOL §4.2).

Pure functions on a transaction. Every committed segment has a :class:`Life`. While rows name it, nothing ends it but
its keep_until. While none does, an end is due: for ``lapsed`` when its lease runs out, for ``deleted`` when the grace
after its account's drop has passed. What is due is told by :func:`due`; hippy.validator.releases does it.

Invariants: ``references`` is the number of live rows that name the segment; a segment that is not released has a row in
ENDS for its ``end_time`` exactly when that is not 0, and one for its ``keep_until`` likewise; it has a DROP exactly
when its end is due for ``deleted``; a released one has neither, and stays released for good.

Example, inside of a transaction::

    begin(txn, record, seq, now, pace)            # committed: kept for a lease
    refer(txn, segment_id)                        # a row names it: kept
    dereference(txn, segment_id, drop, now, pace) # and no longer: deleted in a day
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from struct import Struct
from typing import Final, Literal, NamedTuple

from hippy.errors import ConflictError, NotFoundError
from hippy.ids import ID_BYTES, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.tables import DROP, ENDS, LIFE, OWNER, get_message, ordered
from hippy.wire.object import Drop
from hippy.wire.pace import Pace
from hippy.wire.segment import SegmentRecord

EndReason = Literal["deleted", "lapsed", "expired"]

_LAYOUT: Final = Struct("<5Q")
_UNREFERENCED: Final = b"\0"
"""Last byte of a key of ENDS: the end of a segment that no row names."""

_EXPIRY: Final = b"\1"
"""The same: its keep_until."""


@dataclass(frozen=True, slots=True)
class Life:
    """Who needs a committed segment and until when it is kept; numbers that are absent are 0."""

    committed_seq: int
    """The log's record that committed it."""

    references: int = 0
    end_time: int = 0
    """When it ends because no row names it."""

    keep_until: int = 0
    released_seq: int = 0
    """The log's record that released it."""

    @property
    def is_released(self) -> bool:
        """Whether the segment is owed no longer."""
        return self.released_seq > 0

    def encode(self) -> bytes:
        """Return the 40 stored bytes."""
        return _LAYOUT.pack(
            self.committed_seq, self.references, self.end_time, self.keep_until, self.released_seq
        )  # in the order of the fields

    @classmethod
    def parse(cls, value: bytes) -> Life:
        """Return what is stored."""
        return cls(*_LAYOUT.unpack(value))


class Due(NamedTuple):
    """A segment whose time has come, and why."""

    segment_id: SegmentId
    reason: EndReason
    drop: Drop | None


def get_life(reader: Reader, segment_id: SegmentId) -> Life | None:
    """Return what is known of a segment that was committed, released ones too; None for any other."""
    value = reader.get(LIFE + segment_id)
    return None if value is None else Life.parse(value)


def is_released(reader: Reader, segment_id: SegmentId) -> bool:
    """Return whether a segment was committed and then released."""
    life = get_life(reader, segment_id)
    return life is not None and life.is_released


def check_not_released(reader: Reader, segment_id: SegmentId) -> None:
    """Raises ConflictError for a segment that was released: nothing can bring it back."""
    if is_released(reader, segment_id):
        raise ConflictError(f"segment {segment_id.hex()} was released", hint="store the data again")


def begin(txn: Transaction, record: SegmentRecord, seq: int, now: int, pace: Pace) -> None:
    """Give a segment that the log's record ``seq`` commits its first lease."""
    segment_id = record.segment_id
    if record.keep_until is not None:
        txn.put(_end_key(record.keep_until, segment_id, _EXPIRY), b"")
    _set_end(txn, segment_id, Life(seq, keep_until=record.keep_until or 0), now + pace.lease_seconds)


def renew(
    txn: Transaction, account: PublicKey, segment_ids: Sequence[SegmentId], now: int, pace: Pace
) -> tuple[int, ...]:
    """Return until when each segment is kept without a row, after renewing its lease; 0 where a row names it.

    A renewal says that the segment is needed: a drop of it is forgotten. Raises NotFoundError unless all are committed
    and the account's, ConflictError when one is released.
    """
    for segment_id in segment_ids:
        if txn.get(OWNER + segment_id) != account:
            raise NotFoundError(f"segment {segment_id.hex()} is not committed by this account", hint="commit it first")
        check_not_released(txn, segment_id)
    return tuple(_renew(txn, segment_id, now + pace.lease_seconds) for segment_id in segment_ids)


def _renew(txn: Transaction, segment_id: SegmentId, until: int) -> int:
    life = _life(txn, segment_id)
    if life.references:
        return 0
    txn.delete(DROP + segment_id)
    end = max(until, life.end_time)
    _set_end(txn, segment_id, life, end)
    return min(end, life.keep_until or end)


def refer(txn: Transaction, segment_id: SegmentId) -> None:
    """Note that one row more names a segment; a drop of it is forgotten."""
    life = _life(txn, segment_id)
    assert not life.is_released, "rows name no segment that is released"
    txn.delete(DROP + segment_id)
    _set_end(txn, segment_id, replace(life, references=life.references + 1), 0)


def dereference(txn: Transaction, segment_id: SegmentId, drop: Drop | None, now: int, pace: Pace) -> None:
    """Note that one row less names a segment; when none is left, its end is due for the grace after the drop.

    In a log that somebody else wrote drops are not told (None): then a new lease begins.
    """
    life = _life(txn, segment_id)
    assert life.references > 0, "a row is replaced once"
    life = replace(life, references=life.references - 1)
    if life.references or life.is_released:
        txn.put(LIFE + segment_id, life.encode())
        return
    if drop is None:
        _set_end(txn, segment_id, life, now + pace.lease_seconds)
        return
    txn.put(DROP + segment_id, drop.encode())
    _set_end(txn, segment_id, life, max(drop.time, now) + pace.drop_grace_seconds)


def due(reader: Reader, now: int, limit: int) -> list[Due]:
    """Return up to ``limit`` segments whose time has come, those that waited longest first, each once."""
    found = dict[SegmentId, Due]()
    for key, _ in islice(reader.scan(ENDS), limit):
        if key >= ENDS + ordered(now + 1):
            break
        segment_id = SegmentId(key[-1 - ID_BYTES : -1])
        if segment_id not in found:
            found[segment_id] = _due(reader, segment_id, key[-1:])
    return list(found.values())


def _due(reader: Reader, segment_id: SegmentId, why: bytes) -> Due:
    if why == _EXPIRY:
        return Due(segment_id, "expired", None)
    drop = get_message(reader, DROP + segment_id, Drop)
    return Due(segment_id, "lapsed" if drop is None else "deleted", drop)


def end(txn: Transaction, segment_id: SegmentId, seq: int) -> None:
    """Note that the log's record ``seq`` released a segment; nothing is due for it any more."""
    life = _life(txn, segment_id)
    assert not life.is_released, "a segment is released once"
    txn.delete(DROP + segment_id)
    if life.keep_until:
        txn.delete(_end_key(life.keep_until, segment_id, _EXPIRY))
    _set_end(txn, segment_id, replace(life, released_seq=seq), 0)


def _life(reader: Reader, segment_id: SegmentId) -> Life:
    life = get_life(reader, segment_id)
    assert life is not None, "only what is committed is referred to"
    return life


def _set_end(txn: Transaction, segment_id: SegmentId, life: Life, end_time: int) -> None:
    """Store a life, with another time at which it ends for want of a row; 0: none."""
    if life.end_time:
        txn.delete(_end_key(life.end_time, segment_id, _UNREFERENCED))
    if end_time:
        txn.put(_end_key(end_time, segment_id, _UNREFERENCED), b"")
    txn.put(LIFE + segment_id, replace(life, end_time=end_time).encode())


def _end_key(time: int, segment_id: SegmentId, why: bytes) -> bytes:
    return ENDS + ordered(time) + segment_id + why
