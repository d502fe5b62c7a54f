"""What a validator does for whom: authorization, and the order of work around each transaction.

Every method gets a parsed message and who signed it, and returns canonical bytes or raises a HippyError. Slow
checks (signatures, HPKE, hashing) run in threads, in portions, before the transaction; transactions stay short
(hippy.kv runs them one after the other).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from hippy.clock import Clock
from hippy.errors import AuthError, ConflictError, ProtocolError, TemporaryError
from hippy.ids import PublicKey
from hippy.kv import Database, Reader, Transaction
from hippy.points import reached
from hippy.transport.client import Peer
from hippy.validator import allocation as allocations
from hippy.validator.accounts import check_room, is_listed, status_of, terms_of
from hippy.validator.buckets import check_bucket, write_bucket
from hippy.validator.commit import CheckedCommit, EnvelopeKey, check_commit, commit_segments, pending
from hippy.validator.departures import Departures
from hippy.validator.directory import MinerDirectory
from hippy.validator.following.copies import Alone, CopyWait, shown
from hippy.validator.following.registries import Registries, Standing, registries
from hippy.validator.leases import renew
from hippy.validator.listing import list_buckets, list_rows
from hippy.validator.log import Home, position
from hippy.validator.objects import (
    CheckedRow,
    Drops,
    check_drop,
    check_row,
    in_portions,
    join_answers,
    pair_manifests,
    read_rows,
    rows_bytes,
    without_current,
    write_rows,
)
from hippy.validator.once import RequestKey, answered, forget_answers, once
from hippy.validator.planner import Planner
from hippy.validator.rates import RECORDS, REQUESTS, AccountRates, Change, units_of
from hippy.validator.records import encode_records, records_bytes
from hippy.validator.releases import RELEASES_MAX, release_due
from hippy.validator.tables import Allocation, get_allocation
from hippy.validator.tickets import grant, tickets
from hippy.wire.log import AccountRecord
from hippy.wire.object import (
    OBJECTS_BYTES_MAX,
    BucketAnswer,
    BucketRequest,
    BucketsAnswer,
    BucketsRequest,
    Drop,
    ListRequest,
    ReadRequest,
    WriteAnswer,
    WriteRequest,
)
from hippy.wire.pace import USUAL_PACE, Pace
from hippy.wire.parts import encode_parts
from hippy.wire.release import LeaseAnswer, LeaseRequest
from hippy.wire.segment import (
    AllocateRequest,
    CommitAnswer,
    CommitRequest,
    FailedPiece,
    ReallocateRequest,
    SegmentsRequest,
)

ROWS_PER_PORTION: Final = 32
"""Rows, or drops, checked in one go of a thread, about 5 ms."""

DRAWS_MAX: Final = 5
"""Draws for one re-allocation, when pieces of one segment move at the same time."""

SWEEP_MAX: Final = 256
"""Allocations or answers removed in one transaction."""

ALONE: Final = Alone()

T = TypeVar("T")
CopiedAnswer = TypeVar("CopiedAnswer", CommitAnswer, WriteAnswer, BucketAnswer)


class Written(NamedTuple):
    """A stored answer, and the newest record of the log when what it says was written."""

    answer: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of."""

    home: Home
    database: Database
    directory: MinerDirectory
    planner: Planner
    envelope_key: EnvelopeKey
    clock: Clock
    unpaid_quota_bytes: int
    pace: Pace = USUAL_PACE
    copies: CopyWait = ALONE
    registries: Registries | None = None
    """Ours and those that we follow; None: ours alone."""


class Service:
    """The validator behind its routes."""

    def __init__(self, parts: Parts) -> None:
        self._home = parts.home
        self._database = parts.database
        self._directory = parts.directory
        self._planner = parts.planner
        self._envelope_key = parts.envelope_key
        self._clock = parts.clock
        self._unpaid_quota_bytes = parts.unpaid_quota_bytes
        self._pace = parts.pace
        self._copies = parts.copies
        self._registries = parts.registries or Registries(parts.home, parts.database)
        self._departures = Departures(parts.home, parts.database)
        self._requests = AccountRates(REQUESTS, "requests that change something")
        self._records = AccountRates(RECORDS, "changes")

    async def allocate(self, request: AllocateRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/allocate`` (PROTOCOL §3.1); the same segments get the same tickets again."""
        terms = await self._admit_change(sender, request)
        now, key = self._now(), await asyncio.to_thread(self._key, request)
        ids = await asyncio.to_thread(allocations.check_request, request, now)
        known = await self._database.read(lambda reader: [get_allocation(reader, each) for each in ids])
        fresh = {
            segment_id: spec
            for segment_id, spec, there in zip(ids, request.segments, known, strict=True)
            if not allocations.usable(there, now)
        }
        await self._database.read(lambda reader: check_room(reader, terms, allocations.charged_bytes(fresh.values())))
        plans = await self._planner.plan(fresh)
        reached("validator.before_allocation")

        def work(txn: Transaction) -> list[Allocation]:
            def store() -> bytes:
                allocations.allocate(txn, self._home, request, terms, plans, now)
                return b""  # the answer is made from the allocations, at every repeat again

            once(txn, key, now, store)
            return _all_there([get_allocation(txn, segment_id) for segment_id in ids])

        allocated = await self._database.transact(work)
        reached("validator.allocated")
        return await asyncio.to_thread(self._tickets, allocated, now)

    async def reallocate(self, request: ReallocateRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/reallocate``: other miners for pieces whose miners refused or are gone."""
        await self._admit_change(sender, request)
        now, key = self._now(), self._key(request)
        if (answer := await self._database.read(lambda reader: answered(reader, key, now))) is not None:
            return answer
        seen = await self._open_allocation(request, now)
        await self._check_all_failed(seen, request.pieces)
        for _ in range(DRAWS_MAX):
            try:
                return await self._move(request, seen, key, now)
            except allocations.AllocationChangedError:  # another piece of the segment moved first
                seen = await self._open_allocation(request, now)
        raise TemporaryError("too many re-allocations of this segment at once", hint="try again")

    async def _open_allocation(self, request: ReallocateRequest, now: int) -> Allocation:
        seen = await self._database.read(
            lambda reader: allocations.open_allocation(reader, request.account, request.segment_id, now)
        )
        allocations.check_moves(self._home, seen, request.pieces)
        return seen

    async def _move(self, request: ReallocateRequest, seen: Allocation, key: RequestKey, now: int) -> bytes:
        moved, pool = await self._planner.move(seen, [piece.index for piece in request.pieces])

        def work(txn: Transaction) -> bytes:
            def store() -> bytes:
                after = allocations.move(txn, self._home, seen, moved, pool, now)
                granted = {ticket.index: ticket for ticket in tickets(self._home, after)}
                return grant(self._home, [granted[index] for index in moved], now).encode()

            return once(txn, key, now, store)

        return await self._database.transact(work)

    async def commit(self, request: CommitRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/commit`` (PROTOCOL §3.3): all segments, durably, or none."""
        await self._admit_change(sender, request)
        now, key = self._now(), await asyncio.to_thread(self._key, request)
        if (known := await self._known(key, now)) is not None:
            return await self._copied(CommitAnswer, known)
        waiting = await self._database.read(lambda reader: pending(reader, sender, request.segments, now))
        checked: list[CheckedCommit] = []
        for commit, allocation in waiting:  # a thread's turn per segment: 24 receipts take 6 ms
            checked.append(await asyncio.to_thread(check_commit, commit, allocation, self._home, self._envelope_key))

        def store(txn: Transaction) -> bytes:
            commit_segments(txn, self._home, checked, now, self._pace)
            return CommitAnswer(copies=1).encode()

        reached("validator.before_commit")
        written = await self._database.transact(lambda txn: _at(txn, once(txn, key, now, lambda: store(txn))))
        reached("validator.committed")
        return await self._copied(CommitAnswer, written)

    async def write(self, request: WriteRequest, manifests: Sequence[bytes], sender: PublicKey) -> bytes:
        """Answer ``POST /v1/objects``: a result for each row."""
        terms = await self._admit_change(sender, request)
        now, key = self._now(), await asyncio.to_thread(self._key, request)
        if (known := await self._known(key, now)) is not None:
            return await self._copied(WriteAnswer, known)
        pairs, checked = pair_manifests(request.rows, manifests), list[CheckedRow]()
        while portion := list(islice(pairs, ROWS_PER_PORTION)):
            checked += await asyncio.to_thread(
                lambda rows: [check_row(row, blob, sender, self._home.network, now) for row, blob in rows], portion
            )
        drops = await self._check_drops(request.drops, sender, now)

        def write(txn: Transaction, rows: Sequence[CheckedRow]) -> WriteAnswer:
            return write_rows(txn, self._home, terms, rows, now, drops, self._pace)

        reached("validator.before_rows")
        *first, last = in_portions(checked)
        answers = [await self._database.transact(partial(write, rows=rows)) for rows in first]

        def store(txn: Transaction) -> bytes:
            answers.append(write(txn, last))
            return without_current(join_answers(answers)).encode()

        kept = await self._database.transact(lambda txn: _at(txn, once(txn, key, now, lambda: store(txn))))
        reached("validator.rows")
        whole = join_answers(answers).encode() if len(answers) > len(first) else kept.answer
        return await self._copied(WriteAnswer, Written(whole, kept.seq))

    async def _check_drops(self, drops: Sequence[Drop], sender: PublicKey, now: int) -> Drops:
        """Return those that are the sender's, by segment."""
        waiting, checked = iter(drops), list[Drop]()
        while portion := list(islice(waiting, ROWS_PER_PORTION)):
            checked += await asyncio.to_thread(
                lambda some: [drop for drop in some if check_drop(drop, sender, self._home.network, now)], portion
            )
        return {drop.segment_id: drop for drop in checked}

    async def leases(self, request: LeaseRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/leases``: until when segments are kept without a row."""
        await self._admit_change(sender, request)
        now, key = self._now(), self._key(request)

        def store(txn: Transaction) -> bytes:
            return LeaseAnswer(until=renew(txn, sender, request.segment_ids, now, self._pace)).encode()

        return await self._database.transact(lambda txn: once(txn, key, now, lambda: store(txn)))

    async def write_bucket(self, request: BucketRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/buckets/write``: make a bucket, or unmake an empty one."""
        await self._admit_change(sender, request)
        now, key = self._now(), self._key(request)
        await asyncio.to_thread(check_bucket, request.row, sender, self._home.network, now)

        def store(txn: Transaction) -> bytes:
            return write_bucket(txn, self._home, request.row, now).encode()

        written = await self._database.transact(lambda txn: _at(txn, once(txn, key, now, lambda: store(txn))))
        return await self._copied(BucketAnswer, written)

    async def read_bytes(self, request: ReadRequest, sender: PublicKey) -> int:
        """Return about how long the answer of :meth:`read` gets."""
        await self._authorize(sender, request.account)
        return await self._registries.read(sender, lambda registry, _: rows_bytes(registry, request))

    async def read(self, request: ReadRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/objects/read``, as parts."""
        await self._authorize(sender, request.account)
        return await self._registries.read(sender, lambda registry, _: encode_parts(*read_rows(registry, request)))

    async def list(self, request: ListRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/objects/list``."""
        await self._authorize(sender, request.account)
        return await self._registries.read(sender, lambda registry, _: list_rows(registry, request).encode())

    async def buckets(self, request: BucketsRequest, sender: PublicKey) -> bytes:
        """Answer ``POST /v1/buckets``."""
        await self._authorize(sender, request.account)
        return await self._registries.read(
            sender, lambda registry, _: BucketsAnswer(buckets=list_buckets(registry, sender)).encode()
        )

    async def segments_bytes(self, request: SegmentsRequest) -> int:
        """Return how long the answer of :meth:`segments` gets at most."""
        return await self._database.read(lambda reader: records_bytes(list(registries(reader)), request.segment_ids))

    async def segments(self, request: SegmentsRequest) -> bytes:
        """Answer ``POST /v1/segments``; records are no secret, so any signature will do."""
        return await self._database.read(lambda reader: encode_records(list(registries(reader)), request.segment_ids))

    async def account(self, sender: PublicKey) -> bytes:
        """Answer ``GET /v1/account``."""

        def status(registry: Reader, at: Standing) -> bytes:
            terms = self._terms(registry, at, sender)
            return status_of(registry, terms, at.home, at.term, at.change).encode()

        return await self._registries.read(sender, status)

    async def sweep(self) -> None:
        """Close allocations that were not committed in time, release segments that are due, forget old answers.

        And note who left the subnet.
        """
        now = self._now()
        await _until_done(self._database, lambda txn: allocations.close_due(txn, self._home, now, SWEEP_MAX))
        while await self._database.transact(lambda txn: release_due(txn, self._home, now, RELEASES_MAX)):
            reached("validator.released")
        await _until_done(self._database, lambda txn: forget_answers(txn, now, SWEEP_MAX))
        await self._departures.look(self._directory.metagraph, now)

    async def admit(self, sender: PublicKey) -> None:
        """Check that the sender has an account here.

        Raises AuthError.
        """
        await self._authorize(sender, sender)

    async def _admit_change(self, sender: PublicKey, request: Change) -> AccountRecord:
        """Return the terms of an account that may change something now.

        Raises AuthError, RateLimitedError for an account that changes too much, NotHomeError for one whose home is
        another validator.
        """
        _check_owner(sender, request.account)
        unpaid, now = self._unpaid_quota_bytes, self._clock.now()
        terms, listed = await self._registries.change(
            sender, lambda reader: (terms_of(reader, sender, unpaid), is_listed(reader, sender))
        )
        self._requests.take(sender, 1, now, is_listed=listed)
        self._records.take(sender, units_of(request), now, is_listed=listed)
        return terms

    async def _authorize(self, sender: PublicKey, account: bytes) -> AccountRecord:
        _check_owner(sender, account)
        return await self._registries.read(sender, lambda registry, at: self._terms(registry, at, sender))

    def _terms(self, registry: Reader, at: Standing, account: PublicKey) -> AccountRecord:
        """Return an account's terms by the registry that answers for it.

        Raises AuthError for an unknown one where strangers have no quota; whoever another home knows is no stranger.
        """
        unpaid = self._unpaid_quota_bytes
        return terms_of(registry, account, unpaid if at.home == self._home.hotkey else max(1, unpaid))

    async def _known(self, key: RequestKey, now: int) -> Written | None:
        """Return the answer that a request got before, where it was made before the newest record."""

        def look(reader: Reader) -> Written | None:
            answer = answered(reader, key, now)
            return None if answer is None else _at(reader, answer)

        return await self._database.read(look)

    async def _copied(self, kind: type[CopiedAnswer], written: Written) -> bytes:
        """Return an answer once what it says is with followers, and what shows that (PROTOCOL §3.6).

        Raises TemporaryError when no follower has it in time.
        """
        acks = await self._copies.wait(written.seq)
        if not acks:
            return written.answer
        answer = kind.parse(written.answer, limit=OBJECTS_BYTES_MAX)
        return answer.model_copy(update={"copies": 1 + len(acks), "acks": shown(acks)}).encode()

    async def _check_all_failed(self, seen: Allocation, pieces: Sequence[FailedPiece]) -> None:
        """Check pieces at once, for a dead miner takes seconds; raises the first error when all are done."""
        checks = [self._check_failed(seen, piece) for piece in pieces]
        for error in await asyncio.gather(*checks, return_exceptions=True):
            if error is not None:
                raise error

    async def _check_failed(self, seen: Allocation, piece: FailedPiece) -> None:
        """Check that a piece's miner refused it, or that it is gone.

        Raises AuthError or ProtocolError for a refusal that proves nothing, ConflictError when the miner is there.
        """
        place = seen.places[piece.index]
        if piece.refusal is not None:
            if (piece.refusal.ticket_id, piece.refusal.miner) != (piece.ticket_id, place.miner):
                raise ProtocolError(f"the refusal shown for piece {piece.index} is about another ticket")
            piece.refusal.check_signature(place.miner, self._home.network)
        elif await self._directory.is_there(Peer(place.endpoint, place.miner)):
            raise ConflictError(f"the miner of piece {piece.index} is there", hint="try it again")

    def _tickets(self, allocated: Sequence[Allocation], now: int) -> bytes:
        granted = [ticket for allocation in allocated for ticket in tickets(self._home, allocation)]
        return grant(self._home, granted, now).encode()

    def _key(self, request: Change) -> RequestKey:
        return RequestKey(request.account, request.request_id, request.id(self._home.network))

    def _now(self) -> int:
        return int(self._clock.now())


def _check_owner(sender: PublicKey, account: bytes) -> None:
    if sender != account:
        raise AuthError("the request is about another account than the one that signed it")


def _at(reader: Reader, answer: bytes) -> Written:
    """Return an answer with the record that the log has come to."""
    return Written(answer, position(reader).seq)


def _all_there(found: Sequence[Allocation | None]) -> list[Allocation]:
    """Return allocations that are all present.

    Raises ConflictError when a repeated request finds them closed.
    """
    there = [allocation for allocation in found if allocation is not None]
    if len(there) != len(found):
        raise ConflictError("this allocation has ended", hint="allocate again under a new request_id")
    return there


async def _until_done(database: Database, work: Callable[[Transaction], int]) -> None:
    """Run short transactions until one finds less than a full portion to do."""
    while await database.transact(work) == SWEEP_MAX:
        pass
