"""The service's own work: the sweep, the order of checks, and bodies that would not fit in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConflictError, NotFoundError, QuotaError, TemporaryError
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Database
from hippy.points import watching
from hippy.testing.clock import VirtualClock
from hippy.testing.crash import MachineDown
from hippy.transport.client import open_http
from hippy.transport.server import Route, build_app, serving
from hippy.validator.accounts import apply_accounts, status_of
from hippy.validator.allocation import CLOSE_AFTER_SECONDS
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import scan_log
from hippy.validator.once import REQUEST
from hippy.validator.planner import Planner
from hippy.validator.rates import RECORDS, REQUESTS, STRANGER_BURST_SHARE, TooManyError
from hippy.validator.server import BodyBudget
from hippy.validator.service import Parts, Service
from hippy.wire.object import BucketAnswer, BucketRequest, BucketRow, Drop, WriteAnswer, WriteRequest
from hippy.wire.release import LeaseAnswer, LeaseRequest
from hippy.wire.segment import CommitRequest, SegmentCommit
from tests.validator import world
from tests.validator.releasing import GRACE, LEASE, released
from tests.validator.world import (
    ACCOUNT,
    ENVELOPE_KEY,
    HOME,
    NETWORK,
    NOW,
    STRANGER,
    TERMS,
    allocated,
    commit,
    committed,
    component,
    drop,
    row,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A service whose time is the test's."""

    service: Service
    database: Database
    clock: VirtualClock


@pytest.fixture
async def bench(tmp_path: Path, database: Database) -> AsyncIterator[Bench]:
    clock = VirtualClock(float(NOW))
    path = tmp_path / "chain.sqlite"
    LocalChain.create(path, clock=clock, network=NETWORK, genesis_secret=b"s" * 32)
    async with open_local_chain(path, hotkey=None, clock=clock) as chain, open_http(None, clock) as http:
        directory = MinerDirectory(http, chain, HOME, clock, probe_seconds=1, stale_seconds=3)
        service = Service(
            Parts(
                home=HOME,
                database=database,
                directory=directory,
                planner=Planner(chain, directory, b"p" * 32),
                envelope_key=ENVELOPE_KEY,
                clock=clock,
                unpaid_quota_bytes=0,
            )
        )
        await database.transact(lambda txn: apply_accounts(txn, HOME, [TERMS], NOW))
        yield Bench(service, database, clock)


MANIFESTS = [b"manifest"]


def write_request(number: int = 0) -> WriteRequest:
    return WriteRequest(request_id=bytes([number]) * 16, account=ACCOUNT.public_key, rows=(row("a"),))


async def test_sweep_closes_what_was_not_committed_and_gives_the_charge_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.validator.service.SWEEP_MAX", 2)
    for number in range(5):
        await allocated(bench.database, number)
    await bench.service.sweep()
    assert (await bench.database.read(lambda r: status_of(r, TERMS, HOME.hotkey))).used_bytes == 5 * 800
    await bench.clock.advance(3600 + CLOSE_AFTER_SECONDS + 1)
    await bench.service.sweep()
    assert (await bench.database.read(lambda r: status_of(r, TERMS, HOME.hotkey))).used_bytes == 0
    kinds = await bench.database.read(lambda reader: [entry.record.kind for entry in scan_log(reader)])
    assert kinds == ["account", "candidates", *["closed"] * 5]


async def test_sweep_forgets_answers_after_a_day(bench: Bench) -> None:
    await bench.service.write(write_request(), MANIFESTS, ACCOUNT.public_key)
    await bench.service.sweep()
    assert await bench.database.read(lambda reader: len(list(reader.scan(REQUEST)))) == 1
    await bench.clock.advance(24 * 3600)
    await bench.service.sweep()
    assert await bench.database.read(lambda reader: list(reader.scan(REQUEST))) == []


async def test_repeated_write_gets_its_first_answer_though_the_row_is_replaced(bench: Bench) -> None:
    request = write_request()
    first = await bench.service.write(request, MANIFESTS, ACCOUNT.public_key)
    successor = row("a", replaces=request.rows[0], manifest=b"manifest")
    later = WriteRequest(request_id=b"l" * 16, account=ACCOUNT.public_key, rows=(successor,))
    await bench.service.write(later, [b"manifest"], ACCOUNT.public_key)
    assert await bench.service.write(request, MANIFESTS, ACCOUNT.public_key) == first
    losing = write_request(1)
    fresh = WriteAnswer.parse(await bench.service.write(losing, MANIFESTS, ACCOUNT.public_key))
    assert fresh.results[0].current == successor
    again = WriteAnswer.parse(await bench.service.write(losing, MANIFESTS, ACCOUNT.public_key))
    assert (again.results[0].status, again.results[0].current) == ("conflict", None)  # too long to be kept for a day
    with pytest.raises(ConflictError):
        await bench.service.write(later.model_copy(update={"request_id": bytes(16)}), [b"manifest"], ACCOUNT.public_key)


async def test_without_live_miners_the_error_names_both_numbers(bench: Bench) -> None:
    with pytest.raises(TemporaryError, match=r"8 .* 0 can"):
        await bench.service.allocate(world.request(), ACCOUNT.public_key)


BODY_LIMIT = 128 * 1024


@asynccontextmanager
async def served(budget: BodyBudget) -> AsyncIterator[Endpoint]:
    """A server whose one route reads a body under the budget."""

    async def handle(request: web.Request) -> web.StreamResponse:
        async with budget.take(request, BODY_LIMIT) as body:
            return web.Response(text=str(len(body)))

    async with serving(build_app([Route("POST", "/", handle)]), "127.0.0.1", 0) as endpoint:
        yield endpoint


async def status_of_post(endpoint: Endpoint, size: int) -> int:
    async with aiohttp.ClientSession() as session, session.post(endpoint.url, data=b"x" * size) as response:
        return response.status


async def test_bodies_beyond_the_budget_are_told_to_come_back() -> None:
    async with served(BodyBudget(limit=100_000)) as endpoint:
        assert await status_of_post(endpoint, 100_001) == 503
        assert await status_of_post(endpoint, 100_000) == 200
        assert await status_of_post(endpoint, 100_000) == 200


async def test_announcing_a_body_takes_nothing_from_others() -> None:
    async with served(BodyBudget(limit=100_000)) as endpoint:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n1")
        await writer.drain()
        assert await status_of_post(endpoint, 90_000) == 200
        writer.close()


async def test_account_without_room_costs_no_draw(bench: Bench) -> None:
    spec = world.request().segments[0]
    poor = TERMS.model_copy(update={"quota_bytes": spec.n * spec.piece_length - 1})
    await bench.database.transact(lambda txn: apply_accounts(txn, HOME, [poor], NOW))
    with pytest.raises(QuotaError):  # without miners, a draw would be a TemporaryError
        await bench.service.allocate(world.request(), ACCOUNT.public_key)


def commit_request(*commits: SegmentCommit) -> CommitRequest:
    return CommitRequest(request_id=b"c" * 16, account=ACCOUNT.public_key, segments=commits)


def replacing(drops: tuple[Drop, ...] = (), *, number: int = 9) -> WriteRequest:
    """A deletion of what write_request wrote with a segment."""
    gone = row("a", replaces=row("a", segment_ids=(SEGMENT,)), manifest=None)
    return WriteRequest(request_id=bytes([number]) * 16, account=ACCOUNT.public_key, rows=(gone,), drops=drops)


SEGMENT = world.spec().segment_id(ACCOUNT.public_key)


async def named(bench: Bench) -> None:
    """Commit a segment and name it by a row."""
    await committed(bench.database)
    one = WriteRequest(request_id=b"n" * 16, account=ACCOUNT.public_key, rows=(row("a", segment_ids=(SEGMENT,)),))
    results = WriteAnswer.parse(await bench.service.write(one, MANIFESTS, ACCOUNT.public_key)).results
    assert [result.status for result in results] == ["stored"]


async def test_sweep_releases_a_dropped_segment_after_the_grace(bench: Bench) -> None:
    await named(bench)
    await bench.service.write(replacing((drop(SEGMENT),)), [], ACCOUNT.public_key)
    await bench.clock.advance(GRACE - 1)
    await bench.service.sweep()
    assert await released(bench.database) == []
    await bench.clock.advance(1)
    await bench.service.sweep()
    assert [body.reason for body in await released(bench.database)] == ["deleted"]
    assert (await bench.database.read(lambda r: status_of(r, TERMS, HOME.hotkey))).used_bytes == 0


async def test_drops_are_checked_and_a_refused_write_may_be_repeated_with_better_ones(bench: Bench) -> None:
    await named(bench)
    forged = drop(SEGMENT, signer=STRANGER).model_copy(update={"account": ACCOUNT.public_key})
    for number, drops in enumerate([(), (forged,), (drop(SEGMENT, time=NOW + 121),)]):
        refused = await bench.service.write(replacing(drops, number=number), [], ACCOUNT.public_key)
        assert WriteAnswer.parse(refused).results[0].code == "protocol"
    many = (*(drop(SegmentId(bytes([number]) * 32)) for number in range(70)), drop(SEGMENT))
    good = replacing(many)
    answer = await bench.service.write(good, [], ACCOUNT.public_key)
    assert WriteAnswer.parse(answer).results[0].status == "stored"
    assert await bench.service.write(good, [], ACCOUNT.public_key) == answer
    with pytest.raises(ConflictError):
        await bench.service.write(replacing(), [], ACCOUNT.public_key)


async def test_leases_are_renewed_and_a_repeat_gets_the_first_answer(bench: Bench) -> None:
    await committed(bench.database)
    request = LeaseRequest(request_id=b"l" * 16, account=ACCOUNT.public_key, segment_ids=(SEGMENT,))
    await bench.clock.advance(LEASE - 60)
    first = await bench.service.leases(request, ACCOUNT.public_key)
    assert LeaseAnswer.parse(first).until == (NOW + 2 * LEASE - 60,)
    await bench.clock.advance(59)
    assert await bench.service.leases(request, ACCOUNT.public_key) == first
    with pytest.raises(AuthError):
        await bench.service.leases(request, STRANGER.public_key)
    unknown = request.model_copy(update={"request_id": b"u" * 16, "segment_ids": (SegmentId(b"u" * 32),)})
    with pytest.raises(NotFoundError):
        await bench.service.leases(unknown, ACCOUNT.public_key)


async def test_a_bucket_is_made_once_and_a_forged_row_makes_none(bench: Bench) -> None:
    unsigned = BucketRow(account=ACCOUNT.public_key, bucket=component("new"), action="create", time=NOW)
    request = BucketRequest(request_id=b"b" * 16, account=ACCOUNT.public_key, row=unsigned.signed(ACCOUNT, NETWORK))
    for _ in range(2):
        answer = await bench.service.write_bucket(request, ACCOUNT.public_key)
        assert BucketAnswer.parse(answer) == BucketAnswer(copies=1, existed=0)
    forged = request.model_copy(update={"request_id": b"f" * 16, "row": unsigned.signed(STRANGER, NETWORK)})
    with pytest.raises(AuthError):
        await bench.service.write_bucket(forged, ACCOUNT.public_key)


async def test_points_stand_before_and_after_what_is_made_durable(bench: Bench) -> None:
    allocation = await allocated(bench.database)
    seen: list[str] = []
    with watching(seen.append):
        await bench.service.commit(commit_request(commit(allocation)), ACCOUNT.public_key)
        await bench.service.write(write_request(), MANIFESTS, ACCOUNT.public_key)
        await bench.clock.advance(LEASE)
        await bench.service.sweep()
        await bench.service.sweep()
    assert [point for point in seen if point.startswith("validator.")] == [
        "validator.before_commit",
        "validator.committed",
        "validator.before_rows",
        "validator.rows",
        "validator.released",
    ]


def end_at(wanted: str, point: str) -> None:
    """A watcher that ends the process."""
    if point == wanted:
        raise MachineDown


async def test_a_process_that_ends_before_a_commit_left_nothing_and_after_it_everything(bench: Bench) -> None:
    allocation = await allocated(bench.database)
    request = commit_request(commit(allocation))

    for point, is_there in (("validator.before_commit", False), ("validator.committed", True)):
        with pytest.raises(MachineDown), watching(partial(end_at, point)):
            await bench.service.commit(request, ACCOUNT.public_key)
        kinds = await bench.database.read(lambda reader: [entry.record.kind for entry in scan_log(reader)])
        assert ("segment" in kinds) == is_there
    assert await bench.service.commit(request, ACCOUNT.public_key)


async def test_an_account_that_writes_for_ever_is_told_to_wait_and_others_are_not(bench: Bench) -> None:
    other = TERMS.model_copy(update={"account": STRANGER.public_key})
    await bench.database.transact(lambda txn: apply_accounts(txn, HOME, [other], NOW))
    rows = tuple(row("a") for _ in range(500))
    flood = WriteRequest(request_id=bytes(16), account=ACCOUNT.public_key, rows=rows)
    key = ACCOUNT.public_key
    for number in range(RECORDS.burst // 500):
        request = flood.model_copy(update={"request_id": number.to_bytes(16, "big")})
        await bench.service._admit_change(key, request)
    with pytest.raises(TooManyError) as refused:
        await bench.service.write(flood, MANIFESTS * 500, key)
    assert 1 <= refused.value.wait_seconds <= 3
    theirs = WriteRequest(request_id=bytes(16), account=STRANGER.public_key, rows=(row("a", signer=STRANGER),))
    await bench.service.write(theirs, MANIFESTS, STRANGER.public_key)
    await bench.clock.advance(refused.value.wait_seconds)
    await bench.service.write(write_request(1), MANIFESTS, key)


async def test_a_write_that_names_many_segments_lets_others_write_in_between(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.validator.objects.NAMED_AT_ONCE", 1)
    await committed(bench.database)
    rows = tuple(row(name, segment_ids=(SEGMENT,)) for name in ("a", "b", "c"))
    request = WriteRequest(request_id=bytes(16), account=ACCOUNT.public_key, rows=rows)
    transactions = 0
    real = bench.database.transact

    async def transact(work: Any) -> Any:
        nonlocal transactions
        transactions += 1
        return await real(work)

    monkeypatch.setattr(bench.database, "transact", transact)
    answer = await bench.service.write(request, MANIFESTS * 3, ACCOUNT.public_key)
    assert [result.status for result in WriteAnswer.parse(answer).results] == ["stored"] * 3
    assert transactions == 3
    assert await bench.service.write(request, MANIFESTS * 3, ACCOUNT.public_key) == answer


async def test_a_stranger_that_never_stops_keeps_no_other_from_writing(bench: Bench) -> None:
    bench.service._unpaid_quota_bytes = 10**9
    flood = partial(bench.service._admit_change, STRANGER.public_key)
    request = write_request().model_copy(update={"account": STRANGER.public_key})
    for _ in range(REQUESTS.burst // STRANGER_BURST_SHARE):
        await flood(request)
    with pytest.raises(TooManyError):
        await flood(request)
    other = PublicKey(b"o" * 32)
    await bench.service._admit_change(other, write_request().model_copy(update={"account": other}))
