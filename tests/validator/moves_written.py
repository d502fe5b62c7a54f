"""Moved and drain records as a validator of bad will writes them: any body, with what the registry makes of it."""

from __future__ import annotations

from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.kv import Transaction
from hippy.validator.holdings import hand_over
from hippy.validator.log import append
from hippy.validator.tables import get_segment
from hippy.wire.log import CandidateSet
from hippy.wire.repair import Drain, PieceMoved
from hippy.wire.segment import Holding
from tests.validator.world import HOME, candidate


def receipt_of(segment_id: SegmentId, index: int, root: Root, length: int, miner: Identity, now: int) -> Holding:
    """Return a miner's receipt for a piece, for a ticket of its own."""
    ticket = MessageId(digest(segment_id + bytes([index]) + miner.public_key))
    unsigned = Holding(index=index, ticket_id=ticket, miner=miner.public_key, time=now, signature=bytes(64))
    signed = unsigned.receipt(root, length).signed(miner, HOME.network)
    return unsigned.model_copy(update={"signature": signed.signature})


def moved_to(
    segment_id: SegmentId,
    index: int,
    root: Root,
    length: int,
    miner: Identity,
    *,
    candidates_seq: int,
    now: int,
    drained: PublicKey | None = None,
) -> PieceMoved:
    """Return the body that has a miner hold a piece, with its receipt."""
    return PieceMoved(
        segment_id=segment_id,
        root=root,
        holding=receipt_of(segment_id, index, root, length, miner, now),
        drained=drained,
        placement_round=5,
        epoch=1,
        candidates_seq=candidates_seq,
    )


def move(txn: Transaction, body: PieceMoved, now: int) -> int:
    """Log a body and hand the piece over; return the record's seq."""
    seq = append(txn, HOME, [body], now)
    record = get_segment(txn, body.segment_id)
    assert record is not None
    hand_over(txn, record, body.holding, seq, body.drained)
    return seq


def note_candidates(txn: Transaction, *miners: Identity, now: int) -> int:
    """Log a set of candidates and return the record's seq."""
    hotkeys = sorted(miner.public_key for miner in miners)
    members = (candidate(place).model_copy(update={"hotkey": hotkey}) for place, hotkey in enumerate(hotkeys))
    return append(txn, HOME, [CandidateSet(candidates=tuple(members))], now)


def drain_of(miner: Identity, time: int, *, stop: bool = False, signer: Identity | None = None) -> Drain:
    """Return a miner's word that it wants to leave, or to stay."""
    unsigned = Drain(miner=miner.public_key, validator=HOME.hotkey, action="stop" if stop else "start", time=time)
    return unsigned.signed(signer or miner, HOME.network)
