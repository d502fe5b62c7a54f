"""Allocations: room for a segment's pieces, from the first ticket to the close (PROTOCOL §3.1).

Functions on a transaction. Who gets the pieces was drawn before (hippy.validator.placement) and comes in as a
:class:`Plan`; whether a miner really failed is the service's to find out. An open allocation is charged; closing
it without a commit gives the charge back and is a log record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hippy.endpoint import Endpoint
from hippy.errors import ConflictError, NotFoundError, ProtocolError, TemporaryError, UsageError
from hippy.ids import MessageId, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.accounts import charge, refund
from hippy.validator.leases import check_not_released
from hippy.validator.log import Home, append
from hippy.validator.tables import (
    ALLOCATION,
    CANDIDATES,
    CLOSED,
    DUE,
    OWNER,
    SERIAL,
    Allocation,
    Place,
    due_key,
    get_allocation,
    get_count,
    ordered,
    put_count,
)
from hippy.validator.tickets import ticket_id
from hippy.wire.log import AccountRecord, AllocationClosed, CandidateSet
from hippy.wire.segment import AllocateRequest, FailedPiece, SegmentSpec

UPLOAD_SECONDS_MAX: Final = 24 * 3600
COMMIT_GRACE_SECONDS: Final = 600
"""A commit may come this much later than upload_by."""

CLOSE_AFTER_SECONDS: Final = 3600
MOVES_PER_INDEX_MAX: Final = 3


class AllocationChangedError(ConflictError):
    """What was drawn for an allocation no longer fits it; draw again."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A miner chosen for a piece, and where it listens."""

    miner: PublicKey
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class CandidatePool:
    """A candidate set with its id, which is computed once."""

    members: CandidateSet
    set_id: MessageId


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a segment's pieces go, by index, and what that was drawn from."""

    placement_round: int
    beacon: bytes
    epoch: int
    pool: CandidatePool
    assignments: tuple[Assignment, ...]


def check_request(request: AllocateRequest, now: int) -> list[SegmentId]:
    """Return the segment ids after checking everything that needs no state.

    Raises UsageError for impossible times, ProtocolError for segments that do not add up.
    """
    if not now < request.upload_by <= now + UPLOAD_SECONDS_MAX:
        raise UsageError("upload_by lies in the past or more than 24 h ahead", hint="check both clocks (NTP)")
    if request.keep_until is not None and request.keep_until <= request.upload_by:
        raise UsageError("keep_until must be later than upload_by")
    for spec in request.segments:
        spec.check_shape()
    ids = [spec.segment_id(request.account) for spec in request.segments]
    if len(set(ids)) != len(ids):
        raise ProtocolError("a request names each segment once")
    return ids


def charged_bytes(specs: Iterable[SegmentSpec]) -> int:
    """Return what these segments cost their account: n · piece_length each."""
    return sum(spec.n * spec.piece_length for spec in specs)


def usable(allocation: Allocation | None, now: int) -> bool:
    """Return whether an allocation can still be committed, or was."""
    if allocation is None:
        return False
    return allocation.state == "committed" or now <= allocation.upload_by + COMMIT_GRACE_SECONDS


def allocate(
    txn: Transaction,
    home: Home,
    request: AllocateRequest,
    terms: AccountRecord,
    plans: Mapping[SegmentId, Plan],
    now: int,
) -> None:
    """Charge and store every segment of a checked request that is not allocated yet.

    Raises QuotaError, ConflictError for a segment that was committed long ago or released, TemporaryError when a plan
    is missing because an allocation was closed meanwhile.
    """
    for spec in request.segments:
        segment_id = spec.segment_id(request.account)
        existing = get_allocation(txn, segment_id)
        check_not_released(txn, segment_id)
        if usable(existing, now):
            continue
        if txn.get(OWNER + segment_id) is not None:
            raise ConflictError(f"segment {segment_id.hex()} is committed already", hint="write the object row")
        if existing is not None:
            _close(txn, home, existing, now)
        if segment_id not in plans:
            raise TemporaryError("the allocation was closed just now", hint="try again")
        _open(txn, home, request, spec, terms, plans[segment_id], now)


def _open(
    txn: Transaction,
    home: Home,
    request: AllocateRequest,
    spec: SegmentSpec,
    terms: AccountRecord,
    plan: Plan,
    now: int,
) -> None:
    allocation = Allocation(
        account=request.account,
        spec=spec,
        pay_class=terms.pay_class,
        upload_by=request.upload_by,
        keep_until=request.keep_until,
        placement_round=plan.placement_round,
        beacon=plan.beacon,
        epoch=plan.epoch,
        candidates_seq=remember_candidates(txn, home, plan.pool, now),
        places=_places(txn, plan.assignments),
        moves=(0,) * spec.n,
    )
    charge(txn, terms, allocation.charged_bytes)
    _store(txn, allocation)
    txn.put(due_key(allocation), b"")


def _places(txn: Transaction, assignments: Sequence[Assignment]) -> tuple[Place, ...]:
    """Give each assignment the next serial."""
    last = get_count(txn, SERIAL)
    put_count(txn, SERIAL, last + len(assignments))
    return tuple(
        Place(serial=serial, miner=assignment.miner, endpoint=assignment.endpoint)
        for serial, assignment in enumerate(assignments, last + 1)
    )


def remember_candidates(txn: Transaction, home: Home, pool: CandidatePool, now: int) -> int:
    """Return the seq of the log record that holds this candidate set, appending it when it is new."""
    key = CANDIDATES + pool.set_id
    seq = get_count(txn, key)
    if seq == 0:
        seq = append(txn, home, [pool.members], now)
        fold_candidates(txn, pool.set_id, seq)
    return seq


def fold_candidates(txn: Transaction, set_id: MessageId, seq: int) -> None:
    """Note that the log's record ``seq`` holds this candidate set."""
    put_count(txn, CANDIDATES + set_id, seq)


def open_allocation(reader: Reader, account: PublicKey, segment_id: SegmentId, now: int) -> Allocation:
    """Return an allocation that can still be committed.

    Raises NotFoundError when there is none of this account, ConflictError when it is too late.
    """
    allocation = get_allocation(reader, segment_id)
    if allocation is None or allocation.account != account:
        raise NotFoundError(f"segment {segment_id.hex()} is not allocated to this account", hint="allocate it first")
    if not usable(allocation, now):
        raise ConflictError(f"the allocation of segment {segment_id.hex()} has ended", hint="allocate it again")
    return allocation


def check_moves(home: Home, allocation: Allocation, pieces: Sequence[FailedPiece]) -> None:
    """Check that these pieces may get other miners, their failure being proven.

    Raises ProtocolError for impossible indices, ConflictError for tickets that are not current, TemporaryError
    when there were too many re-allocations.
    """
    indices = [piece.index for piece in pieces]
    if len(set(indices)) != len(indices) or max(indices) >= allocation.spec.n:
        raise ProtocolError("a re-allocation names distinct indices below n")
    if allocation.state == "committed":
        raise ConflictError("the segment is committed already")
    for piece in pieces:
        if piece.ticket_id != ticket_id(home, allocation, piece.index):
            raise ConflictError(f"piece {piece.index} has another ticket by now", hint="allocate again to see it")
    _check_count(allocation, indices)


def _check_count(allocation: Allocation, indices: Sequence[int]) -> None:
    total = sum(allocation.moves) + len(indices)
    if total > max(1, allocation.spec.n // 4) or any(allocation.moves[i] >= MOVES_PER_INDEX_MAX for i in indices):
        raise TemporaryError("too many pieces of this segment were given to other miners", hint="try again later")


def move(
    txn: Transaction,
    home: Home,
    seen: Allocation,
    moved: Mapping[int, Assignment],
    pool: CandidatePool,
    now: int,
) -> Allocation:
    """Give pieces of the allocation as it was ``seen`` to other miners; return it as it is now.

    Raises AllocationChangedError when another piece of it moved meanwhile, or it ended.
    """
    if get_allocation(txn, seen.segment_id) != seen:
        raise AllocationChangedError("the allocation changed meanwhile", hint="try again")
    remember_candidates(txn, home, pool, now)
    fresh = dict(zip(moved, _places(txn, list(moved.values())), strict=True))
    allocation = seen.model_copy(
        update={
            "places": tuple(fresh.get(index, place) for index, place in enumerate(seen.places)),
            "tried": (*seen.tried, *(seen.places[index].miner for index in moved)),
            "moves": tuple(count + (index in moved) for index, count in enumerate(seen.moves)),
        }
    )
    _store(txn, allocation)
    return allocation


def close_due(txn: Transaction, home: Home, now: int, limit: int) -> int:
    """Close up to ``limit`` allocations whose upload_by is more than an hour past; return how many."""
    closed = 0
    for key, _ in list(islice(txn.scan(DUE), limit)):
        if key >= DUE + ordered(max(0, now - CLOSE_AFTER_SECONDS)):
            break
        allocation = get_allocation(txn, SegmentId(key[-32:]))
        assert allocation is not None, "an allocation and its due key are written together"
        _close(txn, home, allocation, now)
        closed += 1
    return closed


def _close(txn: Transaction, home: Home, allocation: Allocation, now: int) -> None:
    """Forget an allocation; an open one is logged as closed, and its charge given back."""
    segment_id = allocation.segment_id
    txn.delete(ALLOCATION + segment_id)
    txn.delete(due_key(allocation))
    if allocation.state == "open":
        refund(txn, allocation.account, allocation.charged_bytes)
        closed = AllocationClosed(segment_id=segment_id, upload_by=allocation.upload_by)
        fold_closed(txn, closed, append(txn, home, [closed], now))


def fold_closed(txn: Transaction, closed: AllocationClosed, seq: int) -> None:
    """Note that the log's record ``seq`` closed a segment's allocation."""
    put_count(txn, CLOSED + closed.segment_id, seq)


def _store(txn: Transaction, allocation: Allocation) -> None:
    txn.put(ALLOCATION + allocation.segment_id, allocation.encode())
