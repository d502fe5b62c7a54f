"""Commits: from receipts to a segment record that everybody relies on (PROTOCOL §3.3).

Two steps. :func:`check_commit` is pure, slow (signatures, HPKE) and belongs in a thread; it looks at the
allocation as it was read. :func:`commit_segments` is short and runs in the transaction; it accepts only what was
checked against the allocation that is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hippy.erasure.geometry import profile_of
from hippy.errors import ConflictError, ProtocolError
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.seal import envelope_info, open_envelope
from hippy.validator.allocation import open_allocation
from hippy.validator.holdings import remember_holdings
from hippy.validator.leases import begin, check_not_released
from hippy.validator.log import CommittedSegment, Home, append
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import (
    ALLOCATION,
    ENVELOPES,
    OWNER,
    SEGMENT,
    Allocation,
    get_allocation,
)
from hippy.validator.tickets import ticket_id
from hippy.wire.log import Envelopes
from hippy.wire.pace import USUAL_PACE, Pace
from hippy.wire.segment import Holding, SealEnvelope, SegmentCommit, SegmentRecord


@dataclass(frozen=True, slots=True)
class EnvelopeKey:
    """The X25519 key under which clients seal envelopes to us."""

    key_id: int
    private_key: bytes


@dataclass(frozen=True, slots=True)
class CheckedCommit:
    """A commit that passed every check against ``allocation``."""

    commit: SegmentCommit
    allocation: Allocation


def pending(
    reader: Reader, account: PublicKey, commits: Sequence[SegmentCommit], now: int
) -> list[tuple[SegmentCommit, Allocation]]:
    """Return the commits that are still to be made, with their allocations.

    A segment that this account committed before is left out: repeating that is success. Raises ProtocolError
    for a segment named twice, NotFoundError and ConflictError as open_allocation, ConflictError for one that was
    released.
    """
    if len({commit.segment_id for commit in commits}) != len(commits):
        raise ProtocolError("a request names each segment once")
    for commit in commits:
        check_not_released(reader, commit.segment_id)
    return [
        (commit, open_allocation(reader, account, commit.segment_id, now))
        for commit in commits
        if not is_committed(reader, account, commit.segment_id)
    ]


def is_committed(reader: Reader, account: PublicKey, segment_id: SegmentId) -> bool:
    """Return whether this account has committed the segment."""
    return reader.get(OWNER + segment_id) == account


def check_commit(commit: SegmentCommit, allocation: Allocation, home: Home, key: EnvelopeKey) -> CheckedCommit:
    """Check receipts and envelope of one segment; about 0.2 ms a receipt.

    Raises ProtocolError for too few or doubled receipts, ConflictError for a ticket that is not current,
    AuthError for a signature that does not verify, IntegrityError when our envelope does not open.
    """
    _check_count(commit.holdings, allocation)
    _check_envelopes(commit, allocation, home, key)
    for holding in commit.holdings:
        _check_holding(holding, allocation, home)
    return CheckedCommit(commit, allocation)


def _check_count(holdings: Sequence[Holding], allocation: Allocation) -> None:
    indices, miners = {holding.index for holding in holdings}, {holding.miner for holding in holdings}
    if not len(indices) == len(miners) == len(holdings):
        raise ProtocolError("a commit names each index and each miner once")
    needed = profile_of(allocation.spec.k, allocation.spec.n).commit_min
    if len(holdings) < needed:
        raise ProtocolError(f"a commit of this segment needs {needed} receipts, this one has {len(holdings)}")
    if max(indices) >= allocation.spec.n:
        raise ProtocolError("a commit names indices below n")


def _check_holding(holding: Holding, allocation: Allocation, home: Home) -> None:
    index, spec = holding.index, allocation.spec
    current = (ticket_id(home, allocation, index), allocation.places[index].miner)
    if (holding.ticket_id, holding.miner) != current:
        raise ConflictError(f"the receipt for piece {index} is not for its current ticket")
    receipt = holding.receipt(spec.roots[index], spec.piece_length)
    receipt.check_signature(holding.miner, home.network)


def _check_envelopes(commit: SegmentCommit, allocation: Allocation, home: Home, key: EnvelopeKey) -> None:
    validators = [envelope.validator for envelope in commit.envelopes]
    if len(set(validators)) != len(validators):
        raise ProtocolError("a commit has one envelope per validator")
    ours = next((envelope for envelope in commit.envelopes if envelope.validator == home.hotkey), None)
    if ours is None or ours.key_id != key.key_id:
        raise ProtocolError(
            "the seal key must be sealed to this validator's current key", hint="ask /v1/hello for the key"
        )
    _open(ours, allocation, home, key)


def _open(envelope: SealEnvelope, allocation: Allocation, home: Home, key: EnvelopeKey) -> bytes:
    account, segment_id = allocation.account, allocation.segment_id
    info = envelope_info(home.network, home.netuid, account, segment_id, home.hotkey, key.key_id)
    return open_envelope(envelope.ciphertext, key.private_key, info)


def commit_segments(
    txn: Transaction, home: Home, checked: Sequence[CheckedCommit], now: int, pace: Pace = USUAL_PACE
) -> None:
    """Store all checked commits, or none.

    Raises ConflictError when an allocation changed since it was checked, or the segment was released meanwhile.
    """
    fresh = [segment for each in checked if (segment := _commit(txn, each, now)) is not None]
    record_segments(txn, home, fresh, now, pace)


def record_segments(
    txn: Transaction, home: Home, segments: Sequence[CommittedSegment], now: int, pace: Pace = USUAL_PACE
) -> None:
    """Append a record for each segment, from which on its pieces are held and its first lease runs."""
    last_seq = append(txn, home, segments, now)
    for seq, segment in enumerate(segments, last_seq - len(segments) + 1):
        fold_segment(txn, segment, seq, now, pace)


def fold_segment(txn: Transaction, segment: CommittedSegment, seq: int, now: int, pace: Pace = USUAL_PACE) -> None:
    """Take over a segment that the log's record ``seq`` commits; what it costs was charged before."""
    record, segment_id = segment.record, segment.record.segment_id
    txn.put(SEGMENT + segment_id, record.encode())
    txn.put(ENVELOPES + segment_id, segment.envelopes.encode())
    txn.put(OWNER + segment_id, record.account)
    remember_holdings(txn, record, seq)
    begin(txn, record, seq, now, pace)
    count(txn, Statistic.SEGMENTS, 1)


def _commit(txn: Transaction, checked: CheckedCommit, now: int) -> CommittedSegment | None:
    """Store one segment; None when the same account committed it meanwhile."""
    allocation, segment_id = checked.allocation, checked.commit.segment_id
    if is_committed(txn, allocation.account, segment_id):
        check_not_released(txn, segment_id)
        return None
    if get_allocation(txn, segment_id) != allocation:
        raise ConflictError("the allocation changed meanwhile", hint="try again")
    record = SegmentRecord(
        account=allocation.account,
        spec=allocation.spec,
        pay_class=allocation.pay_class,
        keep_until=allocation.keep_until,
        committed_time=now,
        placement_round=allocation.placement_round,
        candidates_seq=allocation.candidates_seq,
        holdings=tuple(sorted(checked.commit.holdings, key=lambda holding: holding.index)),
    )
    envelopes = Envelopes(envelopes=checked.commit.envelopes)
    txn.put(ALLOCATION + segment_id, allocation.model_copy(update={"state": "committed"}).encode())
    return CommittedSegment(record, envelopes)
