"""The service's own work: the sweep, the order of checks, and bodies that would not fit in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.endpoint import Endpoint
from hippy.errors import ConflictError, QuotaError, TemporaryError
from hippy.kv import Database
from hippy.testing.clock import VirtualClock
from hippy.transport.client import open_http
from hippy.transport.server import Route, build_app, serving
from hippy.validator.accounts import apply_accounts, status_of
from hippy.validator.allocation import CLOSE_AFTER_SECONDS
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import scan_log
from hippy.validator.once import REQUEST
from hippy.validator.planner import Planner
from hippy.validator.server import BodyBudget
from hippy.validator.service import Parts, Service
from hippy.wire.object import WriteAnswer, WriteRequest
from tests.validator import world
from tests.validator.world import ACCOUNT, ENVELOPE_KEY, HOME, NETWORK, NOW, TERMS, allocated, row


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
    assert (await bench.database.read(lambda r: status_of(r, TERMS))).used_bytes == 5 * 800
    await bench.clock.advance(3600 + CLOSE_AFTER_SECONDS + 1)
    await bench.service.sweep()
    assert (await bench.database.read(lambda r: status_of(r, TERMS))).used_bytes == 0
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
    fresh = WriteAnswer.parse(await bench.service.write(write_request(1), MANIFESTS, ACCOUNT.public_key))
    assert fresh.results[0].current == successor
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
