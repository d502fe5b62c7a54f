"""Trying again: what is repeated, how often, and under which request_id."""

from __future__ import annotations

import asyncio
import random
from typing import Any, TypeVar, cast

import pytest

from hippy.client.validator_api import ATTEMPTS, ValidatorApi
from hippy.endpoint import Endpoint
from hippy.errors import ConflictError, HippyError, IntegrityError, QuotaError, TemporaryError, UnreachableError
from hippy.identity import Identity
from hippy.ids import MessageId, NetworkId, Root, SegmentId
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Call, Http, Peer
from hippy.wire.canonical import Message
from hippy.wire.node import AccountStatus
from hippy.wire.object import BucketsAnswer
from hippy.wire.segment import AllocateRequest, FailedPiece, Holding, SegmentRecord, SegmentsAnswer, SegmentSpec

M = TypeVar("M", bound=Message)
ACCOUNT = Identity.from_seed(b"a" * 32).public_key
STATUS = AccountStatus(account=ACCOUNT, pay_class="paid", quota_bytes=1, used_bytes=0, home=ACCOUNT, term=1)
SPEC = SegmentSpec(nonce=b"n" * 16, roots=(Root(b"1" * 32), Root(b"2" * 32)), data_length=1, piece_length=1, k=1, n=2)
PIECE = FailedPiece(index=0, ticket_id=MessageId(b"t" * 32))


class ScriptedHttp:
    """Raises the errors it was given, one for each request, then answers."""

    def __init__(self, *errors: HippyError, answer: Message = STATUS) -> None:
        self.errors = list(errors)
        self.answer = answer
        self.calls: list[Call] = []

    async def message(self, peer: Peer, call: Call, kind: type[M]) -> M:
        self.calls.append(call)
        if self.errors:
            raise self.errors.pop(0)
        assert isinstance(self.answer, kind)
        return self.answer


def api(http: ScriptedHttp, clock: VirtualClock) -> ValidatorApi:
    peer = Peer(Endpoint("127.0.0.1", 1), Identity.from_seed(b"v" * 32).public_key)
    return ValidatorApi(cast("Http", http), peer, ACCOUNT, NetworkId(b"n" * 32), clock, random.Random(1))


async def finish(work: Any, clock: VirtualClock) -> Any:
    task = asyncio.ensure_future(work)
    await clock.advance(60)
    return await task


async def test_what_is_temporary_is_tried_again() -> None:
    clock, http = VirtualClock(), ScriptedHttp(UnreachableError("away"), TemporaryError("busy"))
    assert await finish(api(http, clock).account_status(), clock) == STATUS
    assert len(http.calls) == 3


async def test_attempts_end() -> None:
    clock, http = VirtualClock(), ScriptedHttp(*[UnreachableError("away")] * 20)
    with pytest.raises(UnreachableError):
        await finish(api(http, clock).account_status(), clock)
    assert len(http.calls) == ATTEMPTS


@pytest.mark.parametrize("error", [QuotaError("full"), ConflictError("late")])
async def test_what_will_not_change_is_not_tried_again(error: HippyError) -> None:
    clock, http = VirtualClock(), ScriptedHttp(error)
    with pytest.raises(type(error)):
        await finish(api(http, clock).account_status(), clock)
    assert len(http.calls) == 1


async def test_repeat_is_the_same_request_and_the_next_call_another() -> None:
    clock = VirtualClock()
    http = ScriptedHttp(UnreachableError("away"), TemporaryError("busy"), QuotaError("full"), QuotaError("full"))
    for _ in range(2):
        with pytest.raises(QuotaError):
            await finish(api(http, clock).allocate([SPEC], 1), clock)
    ids = [AllocateRequest.parse(bytes(call.body)).request_id for call in http.calls]
    assert len(ids) == 4
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 2


async def test_reallocation_is_repeated_only_when_its_answer_was_lost() -> None:
    clock, http = VirtualClock(), ScriptedHttp(UnreachableError("away"), TemporaryError("no other miner"))
    with pytest.raises(TemporaryError, match="no other miner"):
        await finish(api(http, clock).reallocate(SPEC.segment_id(ACCOUNT), [PIECE]), clock)
    assert len(http.calls) == 2
    assert http.calls[0].body == http.calls[1].body


async def test_buckets_are_what_the_validator_lists() -> None:
    clock, http = VirtualClock(), ScriptedHttp(answer=BucketsAnswer(buckets=(b"b" * 32,)))
    assert await finish(api(http, clock).buckets(), clock) == (b"b" * 32,)


def record_with(*indices: int, spec: SegmentSpec = SPEC) -> SegmentRecord:
    """A record of who holds these pieces."""
    return SegmentRecord(
        account=ACCOUNT,
        spec=spec,
        pay_class="paid",
        committed_time=0,
        placement_round=0,
        candidates_seq=0,
        holdings=tuple(
            Holding(index=index, ticket_id=PIECE.ticket_id, miner=ACCOUNT, time=0, signature=bytes(64))
            for index in indices
        ),
    )


async def test_record_whose_pieces_are_all_lost_is_a_record() -> None:
    clock, record = VirtualClock(), record_with()
    other = record_with(2, spec=SPEC.model_copy(update={"nonce": b"o" * 16}))
    http = ScriptedHttp(answer=SegmentsAnswer(segments=(record, other)))
    found = await finish(api(http, clock).segments([record.segment_id, other.segment_id]), clock)
    assert found[record.segment_id] == record
    assert isinstance(found[other.segment_id], IntegrityError)  # n is 2


async def test_missing_record_is_told_of_its_segment_alone() -> None:
    clock, known = VirtualClock(), SPEC.segment_id(ACCOUNT)
    missing = SegmentId(b"m" * 32)
    record = record_with(0)
    http = ScriptedHttp(answer=SegmentsAnswer(segments=(record,)))
    found = await finish(api(http, clock).segments([missing, known]), clock)
    assert isinstance(found[missing], IntegrityError)
    assert found[known] == record
