"""A log turned back into the tables of a registry: everything a registry knows is a fold over its log (PROTOCOL §5.1).

:func:`fold` applies one record exactly as the transaction of its home did that wrote it, so that own log → fold → same
tables. Bodies have been checked against their records, and signatures (hippy.validator.following.checking); what is
checked here is that a body fits what is there, so that a home can write nothing into its log that leaves tables that
contradict each other.

What a log does not tell, and so no fold knows: open allocations, their serials and charges; answers kept for repeated
requests; drops that wait, and renewals of leases (a segment that no row names gets one lease from that moment); which
accounts the settings list; how far a departure has been marked (:func:`hippy.validator.holdings.mark_lost`) and which
ended holdings were forgotten; registrations; repairs that are under way or put aside; audits.
"""

from __future__ import annotations

from typing import Final

from hippy.errors import HippyError, IntegrityError
from hippy.ids import MessageId
from hippy.kv import Transaction
from hippy.validator.accounts import charge_anyway, fold_account
from hippy.validator.allocation import charged_bytes, fold_candidates, fold_closed
from hippy.validator.buckets import fold_bucket
from hippy.validator.commit import fold_segment
from hippy.validator.holdings import fold_departure, is_holder, is_known_holder, mark_lost
from hippy.validator.leases import get_life, is_released
from hippy.validator.log import CommittedSegment
from hippy.validator.losses import fold_loss
from hippy.validator.objects import fold_row
from hippy.validator.releases import fold_released
from hippy.validator.repair.drains import fold_drain, is_draining
from hippy.validator.repair.jobs import piece_key
from hippy.validator.repair.moves import current_holder, fold_flawed, fold_moved, mark_departed
from hippy.validator.tables import FLAWED, GONE, OWNER, get_segment
from hippy.wire.log import (
    AccountRecord,
    AllocationClosed,
    CandidateSet,
    Departure,
    Envelopes,
    LogEntry,
    Loss,
    SegmentReleased,
)
from hippy.wire.object import BucketRow, ObjectRow
from hippy.wire.pace import Pace
from hippy.wire.repair import Drain, PieceMoved, SegmentFlawed
from hippy.wire.segment import SegmentRecord

MARKED_AT_ONCE: Final = 2**62
"""All that a miner held: a second departure of one whose first is still being worked off is rare."""


def fold(txn: Transaction, entry: LogEntry, network: bytes, pace: Pace, manifest: bytes | None = None) -> None:
    """Take over one record with all its bodies; ``manifest`` is that of a put row, None where it is not known.

    Raises IntegrityError for a body that does not fit what is there: the home wrote what cannot be.
    """
    try:
        _fold(txn, entry, network, pace, manifest)
    except IntegrityError:
        raise
    except HippyError as error:
        raise IntegrityError(f"log record {entry.record.seq} cannot be taken over: {error.message}") from None


def _fold(txn: Transaction, entry: LogEntry, network: bytes, pace: Pace, manifest: bytes | None) -> None:
    record = entry.record
    seq, now = record.seq, record.time
    match entry:
        case LogEntry(account=AccountRecord() as account):
            fold_account(txn, account)
        case LogEntry(candidates=CandidateSet()):
            fold_candidates(txn, MessageId(record.body_id), seq)
        case LogEntry(segment=SegmentRecord() as segment, envelopes=Envelopes() as envelopes):
            _fold_segment(txn, CommittedSegment(segment, envelopes), seq, now, pace)
        case LogEntry(row=ObjectRow() as row):
            row.check_shape()
            fold_row(txn, row, MessageId(record.body_id), manifest, now, pace)
        case LogEntry(bucket=BucketRow() as bucket):
            fold_bucket(txn, bucket)
        case LogEntry(closed=AllocationClosed() as closed):
            fold_closed(txn, closed, seq)
        case LogEntry(released=SegmentReleased() as released):
            _fold_released(txn, released, seq)
        case _:
            _fold_holdings(txn, entry, network)


def _fold_holdings(txn: Transaction, entry: LogEntry, network: bytes) -> None:
    """Take over a record about who holds what."""
    seq = entry.record.seq
    match entry:
        case LogEntry(departure=Departure() as departure):
            if txn.get(GONE + departure.hotkey) is not None:
                mark_lost(txn, MARKED_AT_ONCE)
            fold_departure(txn, departure.hotkey, seq)
        case LogEntry(loss=Loss() as loss):
            _fold_loss(txn, loss, seq, network)
        case LogEntry(moved=PieceMoved() as moved):
            _fold_moved(txn, moved, seq)
        case LogEntry(drain=Drain() as drain):
            fold_drain(txn, drain)
        case LogEntry(flawed=SegmentFlawed() as flawed):
            _fold_flawed(txn, flawed, seq)
        case _:
            raise IntegrityError(f"log record {seq} of kind {entry.record.kind} cannot be taken over")


def _fold_segment(txn: Transaction, segment: CommittedSegment, seq: int, now: int, pace: Pace) -> None:
    record = segment.record
    record.spec.check_shape()
    if txn.get(OWNER + record.segment_id) is not None:
        raise IntegrityError(f"log record {seq} commits a segment that is committed")
    indices = {holding.index for holding in record.holdings}
    if len(indices) != len(record.holdings) or max(indices, default=0) >= record.spec.n:
        raise IntegrityError(f"log record {seq} commits a segment with impossible holdings")
    charge_anyway(txn, record.account, charged_bytes([record.spec]))
    fold_segment(txn, segment, seq, now, pace)


def _fold_loss(txn: Transaction, loss: Loss, seq: int, network: bytes) -> None:
    loss.check_shape()
    for piece in loss.pieces:
        if not is_holder(txn, loss.miner, piece.root, piece.segment_id, piece.index):
            raise IntegrityError(f"log record {seq} ends a holding that is none")
    fold_loss(txn, loss, seq, network)


def _fold_released(txn: Transaction, released: SegmentReleased, seq: int) -> None:
    released.check_shape()
    life = get_life(txn, released.segment_id)
    if life is None or life.is_released:
        raise IntegrityError(f"log record {seq} releases a segment that is not owed")
    if released.drop is not None and txn.get(OWNER + released.segment_id) != released.drop.account:
        raise IntegrityError(f"log record {seq} releases a segment by the drop of another account")
    fold_released(txn, released.segment_id, seq)


def _fold_moved(txn: Transaction, moved: PieceMoved, seq: int) -> None:
    record, index = get_segment(txn, moved.segment_id), moved.holding.index
    if record is None or is_released(txn, moved.segment_id):
        raise IntegrityError(f"log record {seq} moves a piece of a segment that is not owed")
    if index >= record.spec.n or record.spec.roots[index] != moved.root:
        raise IntegrityError(f"log record {seq} moves a piece that its segment has not")
    if is_known_holder(txn, moved.holding.miner, moved.root, moved.segment_id, index):
        raise IntegrityError(f"log record {seq} moves a piece to a miner that holds, or held it")
    mark_departed(txn, record, index)
    if current_holder(txn, record, index) != moved.drained:
        raise IntegrityError(f"log record {seq} moves a piece that somebody else holds")
    if moved.drained is not None and not is_draining(txn, moved.drained):
        raise IntegrityError(f"log record {seq} moves a piece from a miner that did not ask to leave")
    fold_moved(txn, record, moved, seq)


def _fold_flawed(txn: Transaction, flawed: SegmentFlawed, seq: int) -> None:
    record = get_segment(txn, flawed.segment_id)
    if record is None or is_released(txn, flawed.segment_id) or flawed.index >= record.spec.n:
        raise IntegrityError(f"log record {seq} is about a piece of a segment that is not owed")
    if txn.get(FLAWED + piece_key(flawed.segment_id, flawed.index)) is not None:
        raise IntegrityError(f"log record {seq} says again that a piece cannot be made")
    fold_flawed(txn, flawed, seq)
