"""Which miner holds which pieces, since when and until when, and which pieces are lost (PROTOCOL §5.1).

A committed segment's pieces are held by the miners that its record names, until a departure, loss or released record
names them. Ended holdings stay in the table for a while, so that it answers what was held as of an earlier record:
audits of an epoch are drawn from the log as it was when the epoch began. :func:`forget_ended` removes what nobody can
ask for any more. Records that are shown to clients leave lost pieces out.

A miner that left the subnet has lost all it held: one record says so, and its holdings are ended in portions
(:func:`mark_lost`), because there may be millions. Until that is done, everything that is asked here counts them as
ended already.

A piece that was lost, or whose miner wants to leave, is handed over to another miner (:func:`hand_over`); who had it
before stays known, because that miner will ask about its ticket.

Invariants: keys sort by miner, then root; HELD_COUNT is the number of a miner's holdings that have not ended and
HELD_BYTES what they add up to, and neither is there for none; each ended one has a row in ENDED until it is forgotten;
a piece that nobody holds has one in LOST, unless it never was held or its segment is released; a departure takes only
what was held before its record, so a hotkey that registers again starts with nothing and keeps what it gets. A miner
never gets the same piece of the same segment twice. The stored record of a segment names the newest holder of each
piece. hippy.validator.repair.health counts along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from hippy.hashing import u64
from hippy.ids import ID_BYTES, PublicKey, Root, SegmentId
from hippy.kv import Reader, Transaction
from hippy.proofs.inventory import Inventory
from hippy.validator.held import LAYOUT, PAY_CLASSES, PERIOD, Held, HeldBytes, HeldPiece, distinct, is_paid, tally
from hippy.validator.log import Home, append
from hippy.validator.repair import health
from hippy.validator.tables import (
    ENDED,
    FORMER,
    GONE,
    HELD_BYTES,
    HELD_COUNT,
    HOLDING,
    LOST,
    REPORTED,
    SEGMENT,
    get_count,
    ordered,
    put_count,
)
from hippy.wire.log import Departure, LostPiece
from hippy.wire.segment import Holding, SegmentRecord

_ROOT: Final = slice(len(HOLDING) + ID_BYTES, len(HOLDING) + 2 * ID_BYTES)
_SEGMENT: Final = slice(_ROOT.stop, _ROOT.stop + ID_BYTES)
_ENDED_KEY: Final = len(ENDED) + 8
"""Where in a key of ENDED that of the holding begins, less its table."""

_SEQ_MAX: Final = 2**64 - 1
_BEHIND: Final = b"\xff" * (2 * ID_BYTES + 2)
"""Behind every piece of a miner, so that a scan goes on with the next miner."""


def remember_holdings(txn: Transaction, record: SegmentRecord, seq: int) -> None:
    """Note who holds the pieces of a segment since the log's record ``seq``."""
    segment_id, spec = record.segment_id, record.spec
    value = Held(seq, 0, spec.piece_length, record.pay_class, record.account).encode()
    for holding in record.holdings:
        piece = spec.roots[holding.index] + segment_id + bytes([holding.index])
        txn.put(HOLDING + holding.miner + piece, value)
        _count_up(txn, holding.miner, spec.piece_length)
    health.begin(txn, segment_id, spec, len(record.holdings))


def hand_over(txn: Transaction, record: SegmentRecord, holding: Holding, seq: int, drained: PublicKey | None) -> None:
    """Note that a miner holds a piece of a segment since the log's record ``seq``, whose stored record this is.

    With ``drained``, who holds it now, that holding ends, without being lost. Otherwise nobody holds it.
    """
    segment_id, index, root = record.segment_id, holding.index, record.spec.roots[holding.index]
    before = next((each for each in record.holdings if each.index == index), None)
    if drained is None:
        txn.delete(LOST + segment_id + bytes([index]))
        health.regain(txn, segment_id)
    else:
        key = _key(drained, root, segment_id, index)
        _end(txn, key, txn.get(key) or b"", seq)
        _count_down(txn, drained, 1, record.spec.piece_length)
    if before is not None:
        txn.put(FORMER + segment_id + bytes([index]) + ordered(seq), before.encode())
    value = Held(seq, 0, record.spec.piece_length, record.pay_class, record.account).encode()
    txn.put(_key(holding.miner, root, segment_id, index), value)
    _count_up(txn, holding.miner, record.spec.piece_length)
    kept = [each for each in record.holdings if each.index != index]
    holdings = tuple(sorted([*kept, holding], key=lambda each: each.index))
    txn.put(SEGMENT + segment_id, record.model_copy(update={"holdings": holdings}).encode())


def lose_departed(txn: Transaction, miner: PublicKey, root: Root, segment_id: SegmentId, index: int) -> bool:
    """Mark a holding as lost whose miner's departure is still being worked off; return whether it was one."""
    key, (gone_seq, _) = _key(miner, root, segment_id, index), _gone(txn, miner)
    value = txn.get(key)
    if value is None:
        return False
    since, until, _ = PERIOD.unpack_from(value)
    if until or since >= gone_seq:
        return False
    _lose(txn, key, value, gone_seq)
    return True


def current_holding(reader: Reader, record: SegmentRecord, index: int) -> tuple[Holding, int] | None:
    """Return who holds a piece of a segment now, and by which record of the log, None where nobody does."""
    segment_id, root = record.segment_id, record.spec.roots[index]
    for holding in record.holdings:
        if holding.index == index and is_holder(reader, holding.miner, root, segment_id, index):
            since, _, _ = PERIOD.unpack_from(reader.get(_key(holding.miner, root, segment_id, index)) or b"")
            return holding, since
    return None


def former_holdings(reader: Reader, segment_id: SegmentId, index: int) -> Iterator[tuple[int, Holding]]:
    """Yield who held a piece before it was handed over, each with the moved record that did it, the oldest first."""
    for key, value in reader.scan(FORMER + segment_id + bytes([index])):
        yield int.from_bytes(key[-8:], "big"), Holding.parse(value)


def former_miners(reader: Reader, segment_id: SegmentId) -> Iterator[PublicKey]:
    """Yield who held a piece of a segment before it was handed over."""
    for _, value in reader.scan(FORMER + segment_id):
        yield Holding.parse(value).miner


def holders(reader: Reader) -> Iterator[PublicKey]:
    """Yield every miner that holds a piece now, in order; reads one key for each."""
    for key, _ in reader.scan(HELD_COUNT):
        yield PublicKey(key[len(HELD_COUNT) :])


def holders_at(reader: Reader, seq: int) -> Iterator[PublicKey]:
    """Yield every miner that held a piece as of the log's record ``seq``, in order.

    Reads of each miner as far as its first piece; of one that held nothing, everything.
    """
    after = None
    while (found := next(reader.scan(HOLDING, after), None)) is not None:
        miner = PublicKey(found[0][len(HOLDING) : _ROOT.start])
        if next(_rows_at(reader, HOLDING + miner, seq), None) is not None:
            yield miner
        after = HOLDING + miner + _BEHIND


def held_at(reader: Reader, miner: PublicKey, seq: int) -> Iterator[HeldPiece]:
    """Yield what a miner held as of the log's record ``seq``, by root, segment and index."""
    return map(_piece, _rows_at(reader, HOLDING + miner, seq))


def inventory_at(reader: Reader, miner: PublicKey, seq: int) -> Inventory:
    """Return the distinct roots that a miner held as of the log's record ``seq``."""
    return Inventory(distinct((Root(key[_ROOT]), length) for key, _, length in _rows_at(reader, HOLDING + miner, seq)))


def bytes_at(reader: Reader, miner: PublicKey, seq: int) -> HeldBytes:
    """Return what a miner's distinct roots added up to as of the log's record ``seq``."""
    return tally(held_at(reader, miner, seq))


def holdings_of(reader: Reader, miner: PublicKey, root: Root) -> list[HeldPiece]:
    """Return for which segments a miner holds a piece now."""
    return list(map(_piece, _rows_at(reader, HOLDING + miner + root, _SEQ_MAX)))


def held_behind(reader: Reader, miner: PublicKey, after: HeldPiece | None) -> Iterator[HeldPiece]:
    """Yield what a miner holds now, behind a piece of it, by root, segment and index."""
    key = None if after is None else _key(miner, after.root, after.segment_id, after.index)
    return map(_piece, _rows_at(reader, HOLDING + miner, _SEQ_MAX, key))


def periods(reader: Reader, miner: PublicKey, root: Root, seq: int) -> Iterator[tuple[SegmentId, int, int]]:
    """Yield the segment and index for which a miner held a root as of the log's record ``seq``, and what ended that.

    That is a record, too; 0 stands for none: the miner holds it now.
    """
    gone_seq, _ = _gone(reader, miner)
    for key, value in reader.scan(HOLDING + miner + root):
        since, until, _ = PERIOD.unpack_from(value)
        if not until and since < gone_seq:
            until = gone_seq
        if since <= seq and (not until or until > seq):
            yield SegmentId(key[_SEGMENT]), key[-1], until


def is_holder(reader: Reader, miner: PublicKey, root: Root, segment_id: SegmentId, index: int) -> bool:
    """Return whether a miner holds this piece for this segment now."""
    value = reader.get(_key(miner, root, segment_id, index))
    if value is None:
        return False
    since, until, _ = PERIOD.unpack_from(value)
    return not until and since >= _gone(reader, miner)[0]


def is_known_holder(reader: Reader, miner: PublicKey, root: Root, segment_id: SegmentId, index: int) -> bool:
    """Return whether a miner holds this piece for this segment, or held it and that is not forgotten."""
    return reader.get(_key(miner, root, segment_id, index)) is not None


def _key(miner: PublicKey, root: Root, segment_id: SegmentId, index: int) -> bytes:
    return HOLDING + miner + root + segment_id + bytes([index])


def _rows_at(reader: Reader, prefix: bytes, seq: int, after: bytes | None = None) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield key, value and piece_length of the holdings below a prefix, of one miner, as of a record.

    A departure that is still being marked has ended what it takes.
    """
    gone_seq, _ = _gone(reader, PublicKey(prefix[len(HOLDING) : _ROOT.start]))
    unpack = PERIOD.unpack_from
    for key, value in reader.scan(prefix, after):
        since, until, length = unpack(value)
        if not until and since < gone_seq:
            until = gone_seq
        if since <= seq and (not until or until > seq):
            yield key, value, length


def _piece(row: tuple[bytes, bytes, int]) -> HeldPiece:
    key, value, length = row
    _, _, _, code, account = LAYOUT.unpack(value)
    paid = is_paid(PAY_CLASSES[code])
    return HeldPiece(Root(key[_ROOT]), length, paid, PublicKey(account), SegmentId(key[_SEGMENT]), key[-1])


def _gone(reader: Reader, miner: PublicKey) -> tuple[int, bytes]:
    """Return the departure of a miner that is still being marked and how far that has come; 0 where there is none."""
    value = reader.get(GONE + miner) or bytes(8)
    return int.from_bytes(value[:8], "little"), value[8:]


def end_pieces(txn: Transaction, miner: PublicKey, pieces: Iterable[HeldPiece | LostPiece], seq: int) -> int:
    """Mark holdings as ended by the log's record ``seq``, their pieces as lost; return how many."""
    ended = ended_bytes = 0
    for piece in pieces:
        key = _key(miner, piece.root, piece.segment_id, piece.index)
        value = txn.get(key)
        assert value is not None, "only what is held can end"
        _lose(txn, key, value, seq)
        ended += 1
        ended_bytes += PERIOD.unpack_from(value)[2]
    _count_down(txn, miner, ended, ended_bytes)
    return ended


def end_released(txn: Transaction, record: SegmentRecord, seq: int) -> None:
    """Mark the holdings of a segment that have not ended as ended by the log's record ``seq``; none of them is lost.

    What a departure takes that is still being marked, it keeps.
    """
    for holding in record.holdings:
        root = record.spec.roots[holding.index]
        if is_holder(txn, holding.miner, root, record.segment_id, holding.index):
            key = _key(holding.miner, root, record.segment_id, holding.index)
            _end(txn, key, txn.get(key) or b"", seq)
            _count_down(txn, holding.miner, 1, record.spec.piece_length)
    health.end(txn, record.segment_id)


def depart(txn: Transaction, home: Home, hotkey: PublicKey, block: int, now: int) -> bool:
    """Record that a miner left the subnet, and return whether that was anything new.

    It is not when the miner holds nothing, or when a departure of it is recorded and still being worked off.
    """
    if txn.get(GONE + hotkey) is not None or txn.get(HELD_COUNT + hotkey) is None:
        return False
    fold_departure(txn, hotkey, append(txn, home, [Departure(hotkey=hotkey, block=block)], now))
    return True


def fold_departure(txn: Transaction, hotkey: PublicKey, seq: int) -> None:
    """Note that a miner left by the log's record ``seq``; its holdings are still to be marked (:func:`mark_lost`)."""
    put_count(txn, GONE + hotkey, seq)
    txn.delete(HELD_COUNT + hotkey)
    txn.delete(HELD_BYTES + hotkey)


def mark_lost(txn: Transaction, pieces_max: int) -> int:
    """End up to ``pieces_max`` holdings of miners that left, and return how many were looked at."""
    looked_at = 0
    for gone_key, _ in list(txn.scan(GONE)):
        hotkey = PublicKey(gone_key[len(GONE) :])
        seq, after = _gone(txn, hotkey)
        rows = list(islice(txn.scan(HOLDING + hotkey, after or None), pieces_max - looked_at))
        for key, value in rows:
            since, until, _ = PERIOD.unpack_from(value)
            if until == 0 and since < seq:
                _lose(txn, key, value, seq)
        looked_at += len(rows)
        if looked_at == pieces_max:
            txn.put(gone_key, u64(seq) + (rows[-1][0] if rows else after))
            break
        txn.delete(gone_key)
    return looked_at


def forget_ended(txn: Transaction, before_seq: int, limit: int) -> int:
    """Remove up to ``limit`` holdings that ended before the log's record ``before_seq``; return how many.

    What was held as of ``before_seq`` and later, and what was reported lost since, stays known; so do lost pieces.
    """
    forgotten = 0
    for ended_key, _ in list(islice(txn.scan(ENDED), limit)):
        if ended_key >= ENDED + ordered(before_seq):
            break
        holding = ended_key[_ENDED_KEY:]
        txn.delete(ended_key)
        txn.delete(HOLDING + holding)
        txn.delete(REPORTED + holding[: 2 * ID_BYTES] + ended_key[len(ENDED) : _ENDED_KEY])
        forgotten += 1
    return forgotten


def _end(txn: Transaction, key: bytes, value: bytes, seq: int) -> None:
    """Note that the record ``seq`` ended the holding in a row."""
    txn.put(key, value[:8] + u64(seq) + value[16:])
    txn.put(ENDED + ordered(seq) + key[len(HOLDING) :], b"")


def _lose(txn: Transaction, key: bytes, value: bytes, seq: int) -> None:
    """Note that the record ``seq`` ended the holding in a row, and that its piece is lost."""
    _end(txn, key, value, seq)
    txn.put(LOST + key[_SEGMENT.start :], key[len(HOLDING) : _ROOT.start])
    health.lose(txn, SegmentId(key[_SEGMENT]))


def _count_up(txn: Transaction, miner: PublicKey, piece_length: int) -> None:
    put_count(txn, HELD_COUNT + miner, get_count(txn, HELD_COUNT + miner) + 1)
    put_count(txn, HELD_BYTES + miner, get_count(txn, HELD_BYTES + miner) + piece_length)


def _count_down(txn: Transaction, miner: PublicKey, ended: int, ended_bytes: int) -> None:
    left = get_count(txn, HELD_COUNT + miner) - ended
    assert left >= 0, "what ends was counted"
    if left > 0:
        put_count(txn, HELD_COUNT + miner, left)
        put_count(txn, HELD_BYTES + miner, get_count(txn, HELD_BYTES + miner) - ended_bytes)
    else:
        txn.delete(HELD_COUNT + miner)
        txn.delete(HELD_BYTES + miner)


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
