"""The home validator as typed calls (docs/PROTOCOL.md §3, §4).

Owns request and answer of each call, and trying again when the world is not ready: a repeat carries the same
``request_id``, so a call whose answer was lost is not done twice. What an answer must be beyond its own shape is
checked here where it is about the question (the right tickets, the right records) and in hippy.client.rows where it
is about signatures and versions of objects. The validator is trusted with none of our data's content.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from hippy.clock import Clock
from hippy.errors import DeadlineError, IntegrityError, ProtocolError, TemporaryError, UnreachableError
from hippy.ids import NetworkId, PublicKey, SegmentId
from hippy.transport.client import Call, Http, Peer
from hippy.wire.canonical import Message
from hippy.wire.node import DIRECTORY_BYTES_MAX, AccountStatus, Directory
from hippy.wire.object import (
    LIST_MAX,
    OBJECTS_BYTES_MAX,
    BucketAnswer,
    BucketRequest,
    BucketRow,
    BucketsAnswer,
    BucketsRequest,
    Drop,
    Found,
    ListAnswer,
    ListRequest,
    ObjectRow,
    ReadAnswer,
    ReadRequest,
    RowResult,
    WriteAnswer,
    WriteRequest,
)
from hippy.wire.parts import CONTENT_TYPE, encode_parts, parse_parts
from hippy.wire.release import LeaseAnswer, LeaseRequest
from hippy.wire.segment import (
    RECORDS_BYTES_MAX,
    TICKETS_BYTES_MAX,
    AllocateRequest,
    CommitAnswer,
    CommitRequest,
    FailedPiece,
    ReallocateRequest,
    SegmentCommit,
    SegmentRecord,
    SegmentsAnswer,
    SegmentSpec,
    SegmentsRequest,
    TicketList,
)

M = TypeVar("M", bound=Message)
T = TypeVar("T")

ATTEMPTS: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.25
"""The pause doubles from attempt to attempt and is drawn between half and all of itself."""

RECORDS_PER_CALL: Final = 64
"""Records of one call: at 255 pieces they still fit the answer's limit."""

BUCKETS_BYTES_MAX: Final = 8 * 1024 * 1024


class ValidatorApi:
    """Calls to one validator by one account."""

    def __init__(
        self, http: Http, peer: Peer, account: PublicKey, network: NetworkId, clock: Clock, rng: random.Random
    ) -> None:
        self.peer = peer
        self._http = http
        self._account = account
        self._network = network
        self._clock = clock
        self._rng = rng

    async def allocate(self, specs: Sequence[SegmentSpec], upload_by: int) -> TicketList:
        """Ask for a ticket for every piece of new segments, good for uploads until ``upload_by``, Unix seconds.

        Raises QuotaError, TemporaryError naming how many miners there are, and what the validator says.
        """
        request = AllocateRequest(
            request_id=secrets.token_bytes(16),
            account=self._account,
            segments=tuple(specs),
            upload_by=upload_by,
        )
        return await self._message("/v1/allocate", request, TicketList, TICKETS_BYTES_MAX)

    async def reallocate(self, segment_id: SegmentId, pieces: Sequence[FailedPiece]) -> TicketList:
        """Ask for other miners for pieces that failed.

        Raises ConflictError when a miner is there after all, TemporaryError when there is no other.
        """
        request = ReallocateRequest(
            request_id=secrets.token_bytes(16), account=self._account, segment_id=segment_id, pieces=tuple(pieces)
        )
        call = Call("POST", "/v1/reallocate", request.encode(), answer_bytes_max=TICKETS_BYTES_MAX)
        lost = (UnreachableError, DeadlineError)  # other temporary errors are its answer: there is no other miner
        return await self._again(lambda: self._http.message(self.peer, call, TicketList), lost)

    async def commit(self, segment: SegmentCommit) -> None:
        """Hand in the receipts of a segment; it is durable when this returns."""
        request = CommitRequest(request_id=secrets.token_bytes(16), account=self._account, segments=(segment,))
        await self._message("/v1/commit", request, CommitAnswer)

    async def segments(self, segment_ids: Sequence[SegmentId]) -> dict[SegmentId, SegmentRecord | IntegrityError]:
        """Return the record of each segment, or why it is none: missing, not what its id commits to, or impossible."""
        found: dict[SegmentId, SegmentRecord | IntegrityError] = {}
        for start in range(0, len(segment_ids), RECORDS_PER_CALL):
            asked = tuple(segment_ids[start : start + RECORDS_PER_CALL])
            request = SegmentsRequest(segment_ids=asked)
            answer = await self._message("/v1/segments", request, SegmentsAnswer, RECORDS_BYTES_MAX)
            records = {record.segment_id: record for record in answer.segments}
            for segment_id in asked:
                found[segment_id] = _checked_record(segment_id, records.get(segment_id))
        return found

    async def directory(self) -> Directory:
        """Return the validator's signed view of all miners.

        Raises AuthError or ProtocolError when it is not this validator's.
        """
        call = Call("GET", "/v1/miners", answer_bytes_max=DIRECTORY_BYTES_MAX)
        directory = await self._again(lambda: self._http.message(self.peer, call, Directory))
        if directory.validator != self.peer.hotkey:
            raise ProtocolError("the directory is another validator's")
        directory.check_signature(self.peer.hotkey, self._network)
        return directory

    async def account_status(self) -> AccountStatus:
        """Return our class, quota and use."""
        call = Call("GET", "/v1/account")
        return await self._again(lambda: self._http.message(self.peer, call, AccountStatus))

    async def write(
        self, rows: Sequence[ObjectRow], manifests: Sequence[bytes], drops: Sequence[Drop] = ()
    ) -> tuple[RowResult, ...]:
        """Write rows, with the manifests of the put rows among them and drops; one result per row, in order."""
        request = WriteRequest(
            request_id=secrets.token_bytes(16), account=self._account, rows=tuple(rows), drops=tuple(drops)
        )
        call = self._parts_call("/v1/objects", encode_parts(request, manifests))
        answer = await self._again(lambda: self._http.message(self.peer, call, WriteAnswer))
        if len(answer.results) != len(rows):
            raise ProtocolError(f"{len(rows)} rows were answered with {len(answer.results)} results")
        return answer.results

    async def read(self, bucket: bytes, names: Sequence[tuple[bytes, ...]]) -> list[tuple[Found, bytes | None]]:
        """Return rows and manifests of the first names, as many as fit one answer: at least one."""
        request = ReadRequest(account=self._account, bucket=bucket, names=tuple(names))
        call = Call("POST", "/v1/objects/read", request.encode(), answer_bytes_max=OBJECTS_BYTES_MAX)
        body = await self._again(lambda: self._http.bytes(self.peer, call))
        answer, blobs = parse_parts(ReadAnswer, body)
        if not 1 <= len(answer.results) <= len(names):
            raise ProtocolError(f"{len(names)} names were answered with {len(answer.results)} results")
        rest = iter(blobs)
        return [
            (found, next(rest) if found.row is not None and found.row.manifest_length is not None else None)
            for found in answer.results
        ]

    async def list_page(
        self, bucket: bytes, prefix: tuple[bytes, ...], *, deep: bool, after: tuple[bytes, ...] | None
    ) -> ListAnswer:
        """Return one page of the live rows below a prefix."""
        request = ListRequest(
            account=self._account,
            bucket=bucket,
            prefix=prefix,
            depth="all" if deep else "one",
            after=after,
            limit=LIST_MAX,
        )
        return await self._message("/v1/objects/list", request, ListAnswer, OBJECTS_BYTES_MAX)

    async def buckets(self) -> tuple[bytes, ...]:
        """Return the encrypted names of the account's buckets."""
        request = BucketsRequest(account=self._account)
        return (await self._message("/v1/buckets", request, BucketsAnswer, BUCKETS_BYTES_MAX)).buckets

    async def renew(self, segment_ids: Sequence[SegmentId]) -> tuple[int, ...]:
        """Have committed segments kept that no row names yet; return until when, Unix seconds, 0 where a row does.

        Raises ConflictError when one is released, NotFoundError when one is not committed or another account's.
        """
        request = LeaseRequest(
            request_id=secrets.token_bytes(16), account=self._account, segment_ids=tuple(segment_ids)
        )
        answer = await self._message("/v1/leases", request, LeaseAnswer)
        if len(answer.until) != len(segment_ids):
            raise ProtocolError(f"{len(segment_ids)} leases were answered with {len(answer.until)}")
        return answer.until

    async def write_bucket(self, row: BucketRow) -> bool:
        """Make or unmake a bucket; return whether one was there before.

        Raises ConflictError when it is to be unmade and not empty, NotFoundError when nobody made it.
        """
        request = BucketRequest(request_id=secrets.token_bytes(16), account=self._account, row=row)
        return bool((await self._message("/v1/buckets/write", request, BucketAnswer)).existed)

    async def _message(self, target: str, request: Message, kind: type[M], answer_bytes_max: int = 64 * 1024) -> M:
        call = Call("POST", target, request.encode(), answer_bytes_max=answer_bytes_max)
        return await self._again(lambda: self._http.message(self.peer, call, kind))

    def _parts_call(self, target: str, body: bytes) -> Call:
        headers = {"Content-Type": CONTENT_TYPE}
        return Call("POST", target, body, headers=headers, answer_bytes_max=OBJECTS_BYTES_MAX)

    async def _again(
        self, attempt: Callable[[], Awaitable[T]], errors: tuple[type[TemporaryError], ...] = (TemporaryError,)
    ) -> T:
        """Make an attempt until it succeeds, fails with none of ``errors``, or ATTEMPTS are used up."""
        pause = FIRST_PAUSE_SECONDS
        for _ in range(ATTEMPTS - 1):
            try:
                return await attempt()
            except errors:
                await self._clock.sleep(pause * self._rng.uniform(0.5, 1.0))
                pause *= 2
        return await attempt()


def _checked_record(segment_id: SegmentId, record: SegmentRecord | None) -> SegmentRecord | IntegrityError:
    short = segment_id.hex()[:8]
    if record is None:
        return IntegrityError(f"the validator has no record of segment {short}… that a manifest names")
    try:
        record.spec.check_shape()
    except ProtocolError as error:
        return IntegrityError(f"the record of segment {short}… is impossible: {error.message}")
    indices = [holding.index for holding in record.holdings]
    if len(set(indices)) != len(indices) or any(index >= record.spec.n for index in indices):
        return IntegrityError(f"the record of segment {short}… has impossible holdings")
    return record
