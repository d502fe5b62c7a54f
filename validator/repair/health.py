"""How healthy every segment is, and the queue of those that need repair (PROTOCOL §7).

Functions on a transaction. A segment's health is the number of its holdings that have not ended. Whatever changes
holdings tells this module in the same transaction; from that follow the histogram, the queue and its length, so that
nobody ever has to look through all segments.

A segment is queued when it comes to r or fewer healthy pieces, and stays so until all n are held. It is put aside for a
while (:func:`put_aside`) when no miner can take a piece of it or too few can be read, and is nowhere when fewer than k
are left: then it is lost.

Invariants: a segment that is committed and not released has one row in HEALTH, and is counted in HISTOGRAM and PIECES;
it has a row in QUEUE exactly when its state is ``queued``, one in WAITING exactly when it is ``stuck``; QUEUED and
STUCK count them, and the bytes of their missing pieces that are not flawed.

Example, inside of a transaction::

    begin(txn, segment_id, spec, healthy=24)
    lose(txn, segment_id)                       # 23, of 24
    for segment_id in queued(txn, limit=100):   # the most urgent first
        ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from struct import Struct
from typing import Final, Literal, NamedTuple

from hippy.erasure.geometry import profile_of
from hippy.ids import ID_BYTES, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.repair_order import expected_hours_to_loss
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import HEALTH, HISTOGRAM, QUEUE, WAITING, get_count, ordered, put_count
from hippy.wire.segment import SegmentSpec

State = Literal["well", "queued", "stuck"]

_STATES: Final[tuple[State, ...]] = ("well", "queued", "stuck")
_LAYOUT: Final = Struct("<BBBBBIQ")
_RANK_UNIT: Final = 2**24
"""Ranks per hour of a life at one loss per piece and hour: 1/254 and 1/255 differ, and 6.2 hours fit 4 bytes."""

_RANK_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Health:
    """What repair needs to know of a segment without reading its record."""

    healthy: int
    """Holdings that have not ended."""

    k: int
    n: int
    piece_length: int
    flawed: int = 0
    """Pieces that cannot be made, because the segment was badly coded."""

    state: State = "well"
    until: int = 0
    """When a segment that is stuck is queued again."""

    @property
    def missing(self) -> int:
        """Pieces that nobody holds and that can be made."""
        return self.n - self.healthy - self.flawed

    @property
    def missing_bytes(self) -> int:
        """What they add up to."""
        return self.missing * self.piece_length

    @property
    def is_low(self) -> bool:
        """Whether it is at its repair threshold or below."""
        return self.healthy <= profile_of(self.k, self.n).repair_threshold

    def encode(self) -> bytes:
        """Return the 17 stored bytes."""
        state = _STATES.index(self.state)
        return _LAYOUT.pack(self.healthy, self.k, self.n, self.flawed, state, self.piece_length, self.until)

    @classmethod
    def parse(cls, value: bytes) -> Health:
        """Return what is stored."""
        healthy, k, n, flawed, state, piece_length, until = _LAYOUT.unpack(value)
        return cls(healthy, k, n, piece_length, flawed, _STATES[state], until)


class Count(NamedTuple):
    """How many segments of a code have so many healthy pieces."""

    k: int
    n: int
    healthy: int
    segments: int

    @property
    def is_low(self) -> bool:
        """Whether they are at the repair threshold of their code or below."""
        return self.healthy <= profile_of(self.k, self.n).repair_threshold


def get_health(reader: Reader, segment_id: SegmentId) -> Health | None:
    """Return the health of a segment, None where it is not committed, or released."""
    value = reader.get(HEALTH + segment_id)
    return None if value is None else Health.parse(value)


def begin(txn: Transaction, segment_id: SegmentId, spec: SegmentSpec, healthy: int) -> None:
    """Note a segment that is committed with so many holdings."""
    fresh = Health(healthy, spec.k, spec.n, spec.piece_length)
    _replace(txn, segment_id, None, _settled(fresh))
    count(txn, Statistic.PIECES, healthy)


def lose(txn: Transaction, segment_id: SegmentId) -> None:
    """Note that a piece was lost; one of a released segment changes nothing."""
    before = get_health(txn, segment_id)
    if before is None:
        return
    after = replace(before, healthy=before.healthy - 1, state=_moved_up(before.state), until=0)
    _replace(txn, segment_id, before, _settled(after))
    count(txn, Statistic.PIECES, -1)
    count(txn, Statistic.LOST, 1)


def regain(txn: Transaction, segment_id: SegmentId) -> None:
    """Note that a piece that nobody held is held again."""
    before = get_health(txn, segment_id)
    assert before is not None, "pieces of released segments are not repaired"
    _replace(txn, segment_id, before, _settled(replace(before, healthy=before.healthy + 1)))
    count(txn, Statistic.PIECES, 1)


def mark_flawed(txn: Transaction, segment_id: SegmentId) -> None:
    """Note that one of the missing pieces can never be made."""
    before = get_health(txn, segment_id)
    assert before is not None, "pieces of released segments are not repaired"
    _replace(txn, segment_id, before, _settled(replace(before, flawed=before.flawed + 1)))
    count(txn, Statistic.FLAWED, 1)


def end(txn: Transaction, segment_id: SegmentId) -> None:
    """Forget a segment that is released."""
    before = get_health(txn, segment_id)
    assert before is not None, "a segment is released once"
    _replace(txn, segment_id, before, None)
    count(txn, Statistic.PIECES, -before.healthy)


def put_aside(txn: Transaction, segment_id: SegmentId, until: int) -> None:
    """Have a queued segment wait until then, because nothing can be done for it now."""
    before = get_health(txn, segment_id)
    if before is not None and before.state == "queued":
        _replace(txn, segment_id, before, replace(before, state="stuck", until=until))


def queue_again(txn: Transaction, now: int, limit: int) -> int:
    """Queue up to ``limit`` segments that have waited long enough; return how many."""
    due = []
    for key, _ in islice(txn.scan(WAITING), limit):
        if key >= WAITING + ordered(now + 1):
            break
        due.append(SegmentId(key[-ID_BYTES:]))
    for segment_id in due:
        before = get_health(txn, segment_id)
        assert before is not None, "a segment and its place in the queue go together"
        _replace(txn, segment_id, before, replace(before, state="queued", until=0))
    return len(due)


def queued(reader: Reader, limit: int, after: bytes | None = None) -> list[bytes]:
    """Return keys of the queue behind ``after``, the segments with the shortest time to loss first."""
    return [key for key, _ in islice(reader.scan(QUEUE, after), limit)]


def segment_of(key: bytes) -> SegmentId:
    """Return the segment that a key of the queue is about."""
    return SegmentId(key[-ID_BYTES:])


def histogram(reader: Reader) -> Iterator[Count]:
    """Yield how many segments of each code and health there are, the fewest pieces of each code first."""
    for key, value in reader.scan(HISTOGRAM):
        k, n, healthy = key[len(HISTOGRAM) :]
        yield Count(k, n, healthy, int.from_bytes(value, "little"))


def _moved_up(state: State) -> State:
    """A segment that was put aside and lost another piece is looked at again."""
    return "queued" if state == "stuck" else state


def _settled(health: Health) -> Health:
    """Return a segment's health in the state that follows from its numbers."""
    if health.missing <= 0 or health.healthy < health.k:
        return replace(health, state="well", until=0)
    return replace(health, state="queued") if health.is_low and health.state == "well" else health


def _replace(txn: Transaction, segment_id: SegmentId, before: Health | None, after: Health | None) -> None:
    """Store a segment's health, and all that is counted by it."""
    if before is not None:
        _count(txn, before, -1)
        if before.state != "well":
            txn.delete(_place(segment_id, before))
    if after is None:
        txn.delete(HEALTH + segment_id)
        return
    txn.put(HEALTH + segment_id, after.encode())
    _count(txn, after, 1)
    if after.state != "well":
        txn.put(_place(segment_id, after), b"")


def _count(txn: Transaction, health: Health, change: int) -> None:
    key = HISTOGRAM + bytes([health.k, health.n, health.healthy])
    segments = get_count(txn, key) + change
    if segments:
        put_count(txn, key, segments)
    else:
        txn.delete(key)
    match health.state:
        case "queued":
            count(txn, Statistic.QUEUED, change)
            count(txn, Statistic.QUEUED_BYTES, change * health.missing_bytes)
        case "stuck":
            count(txn, Statistic.STUCK, change)
            count(txn, Statistic.STUCK_BYTES, change * health.missing_bytes)
        case "well":
            pass


def _place(segment_id: SegmentId, health: Health) -> bytes:
    if health.state == "stuck":
        return WAITING + ordered(health.until) + segment_id
    rank = int(expected_hours_to_loss(health.healthy, health.k, 1.0) * _RANK_UNIT)
    return QUEUE + rank.to_bytes(_RANK_BYTES, "big") + segment_id
