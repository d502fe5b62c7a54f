"""What a repair comes to in the registry: a piece's new holder, or that it cannot be made (PROTOCOL §5.1, §7).

:func:`check_receipt` is slow (a signature) and belongs before the transaction, the others in it. What a repair was
planned from may have changed while a miner worked: the segment released, the piece's holder staying after all. Then
nothing is recorded, and the miner's ticket ends as one that was given up.

Example::

    check_receipt(receipt, ticket, home.network, now)
    moved = await database.transact(lambda txn: record_move(txn, home, job, receipt, now))
"""

from __future__ import annotations

from hippy.errors import ProtocolError
from hippy.hashing import u64
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.holdings import current_holding, hand_over, lose_departed, lost_indices
from hippy.validator.leases import is_released
from hippy.validator.log import Home, append
from hippy.validator.repair.drains import is_draining
from hippy.validator.repair.health import mark_flawed
from hippy.validator.repair.jobs import RepairJob, finish, forget, is_current, piece_key
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import FLAWED, get_segment
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.repair import PieceMoved, SegmentFlawed
from hippy.wire.segment import Holding, SegmentRecord
from hippy.wire.ticket import Receipt, Ticket


def check_receipt(receipt: Receipt, ticket: Ticket, network: bytes, now: float) -> None:
    """Check that a ticket's miner says that it has the piece.

    Raises ProtocolError when the receipt is another's or of the future, AuthError when it is not signed by the miner.
    """
    told = (receipt.ticket_id, receipt.root, receipt.piece_length, receipt.miner)
    if told != (ticket.id(network), ticket.root, ticket.piece_length, ticket.miner):
        raise ProtocolError("the receipt is for another ticket than the order's")
    if receipt.time > now + CLOCK_TOLERANCE_SECONDS:  # an old one is fine: a repeated order gets the same receipt
        raise ProtocolError("the receipt is dated in the future")
    receipt.check_signature(ticket.miner, network)


def current_holder(reader: Reader, record: SegmentRecord, index: int) -> PublicKey | None:
    """Return who holds a piece of a committed segment now."""
    found = current_holding(reader, record, index)
    return None if found is None else found[0].miner


def record_move(txn: Transaction, home: Home, job: RepairJob, receipt: Receipt, now: int) -> bool:
    """Record that the miner of a job's order holds its piece, and end the job; return whether that could be.

    The receipt has been checked.
    """
    if not is_current(txn, job):
        return False
    record, attempt = get_segment(txn, job.segment_id), job.attempt
    assert record is not None
    assert attempt is not None, "only orders are answered with receipts"
    mark_departed(txn, record, job.index)
    holder = current_holder(txn, record, job.index)
    if not _may_move(txn, job, holder):
        finish(txn, job)
        return False
    holding = Holding(
        index=job.index,
        ticket_id=receipt.ticket_id,
        miner=receipt.miner,
        time=receipt.time,
        signature=receipt.signature,
    )
    moved = PieceMoved(
        segment_id=job.segment_id,
        root=receipt.root,
        holding=holding,
        drained=holder,
        placement_round=attempt.placement_round,
        epoch=attempt.epoch,
        candidates_seq=attempt.candidates_seq,
    )
    fold_moved(txn, record, moved, append(txn, home, [moved], now))
    forget(txn, job)
    return True


def fold_moved(txn: Transaction, record: SegmentRecord, moved: PieceMoved, seq: int) -> None:
    """Take over a piece's new holder as the log's record ``seq`` tells; ``record`` is its segment's, as stored."""
    hand_over(txn, record, moved.holding, seq, moved.drained)
    count(txn, Statistic.MOVED, 1)


def record_flawed(txn: Transaction, home: Home, job: RepairJob, now: int) -> bool:
    """Record that a job's piece cannot be made of its sources, which are right, and end the job.

    Returns False where there is no more to say: the segment was released, or somebody else came to that.
    """
    if not is_current(txn, job):
        return False
    finish(txn, job)
    key = FLAWED + piece_key(job.segment_id, job.index)
    if is_released(txn, job.segment_id) or txn.get(key) is not None:
        return False
    sources = tuple(sorted(source.index for source in job.sources))
    flawed = SegmentFlawed(segment_id=job.segment_id, index=job.index, sources=sources)
    fold_flawed(txn, flawed, append(txn, home, [flawed], now))
    return True


def fold_flawed(txn: Transaction, flawed: SegmentFlawed, seq: int) -> None:
    """Take over that a piece cannot be made, as the log's record ``seq`` tells."""
    txn.put(FLAWED + piece_key(flawed.segment_id, flawed.index), u64(seq))
    mark_flawed(txn, flawed.segment_id)


def flawed_indices(reader: Reader, segment_id: SegmentId) -> frozenset[int]:
    """Return which pieces of a segment cannot be made."""
    return frozenset(key[-1] for key, _ in reader.scan(FLAWED + segment_id))


def missing_indices(reader: Reader, record: SegmentRecord) -> list[int]:
    """Return which pieces of a segment nobody holds though they can be made, in order."""
    segment_id = record.segment_id
    there = {holding.index for holding in record.holdings} - lost_indices(reader, segment_id)
    flawed = flawed_indices(reader, segment_id)
    return [index for index in range(record.spec.n) if index not in there and index not in flawed]


def _may_move(txn: Transaction, job: RepairJob, holder: PublicKey | None) -> bool:
    """Whether a piece may still get another holder: nobody has it, or who has it wants to leave."""
    if is_released(txn, job.segment_id):
        return False
    return holder is None or (holder == job.drained and is_draining(txn, holder))


def mark_departed(txn: Transaction, record: SegmentRecord, index: int) -> None:
    """End a holding whose miner's departure is still being worked off, so that what is next finds it lost."""
    for holding in record.holdings:
        if holding.index == index:
            lose_departed(txn, holding.miner, record.spec.roots[index], record.segment_id, index)
