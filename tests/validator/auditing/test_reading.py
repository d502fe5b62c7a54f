"""Reads: what they say of throughput, and which of them count as served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from blake3 import blake3

from hippy.proofs.tree import root_of
from hippy.testing.clock import VirtualClock
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, serving
from hippy.validator.auditing.reading import MEASURED_BYTES_MIN, START_SECONDS, Piece, PieceReader, measured
from hippy.validator.scoring import Tally, throughput_bps
from tests.validator.auditing.fakes import until
from tests.validator.world import HOME, MINERS

MIB = 2**20
DATA = [blake3(bytes([number])).digest(MIB) for number in range(3)]
PIECES = [Piece(root_of(data), MIB) for data in DATA]


def megabits(tally: Tally) -> float | None:
    bps = throughput_bps(tally)
    return None if bps is None else bps / 1e6


class TestMeasured:
    """PROTOCOL §5.5: half of the bytes, in the time from when half of them had come until all had, or half of what the
    whole read took beyond 2 s if that is more."""

    def test_short_reads_say_nothing(self) -> None:
        assert measured(MEASURED_BYTES_MIN - 1, MIB // 2, 0.1, 0.2) == Tally()
        assert measured(MEASURED_BYTES_MIN, MIB // 2, 0.1, 0.2) != Tally()

    def test_the_second_half_counts_by_its_own_time(self) -> None:
        assert measured(4 * MIB, 2 * MIB, 0.5, 2.4) == Tally(read_bytes=2 * MIB, read_microseconds=500_000)

    def test_a_slow_start_costs_nothing_up_to_two_seconds(self) -> None:
        assert measured(4 * MIB, 2 * MIB, 0.1, START_SECONDS) == measured(4 * MIB, 2 * MIB, 0.1, 0.2)

    def test_who_sits_on_the_first_half_is_measured_by_the_whole(self) -> None:
        late = measured(4 * MIB, 2 * MIB, 0.01, 12.0)
        assert late == Tally(read_bytes=2 * MIB, read_microseconds=5_000_000)
        assert megabits(late) == pytest.approx(4 * MIB * 8 / 10 / 1e6, rel=1e-5)

    def test_a_rest_that_is_not_exactly_half_counts_its_part_of_the_whole(self) -> None:
        late = measured(4 * MIB, MIB, 0.01, 12.0)
        assert late == Tally(read_bytes=MIB, read_microseconds=2_500_000)

    def test_what_came_in_one_go_counts_by_the_whole_read(self) -> None:
        assert measured(MIB, 0, 0.0, 0.25) == Tally(read_bytes=MIB, read_microseconds=250_000)
        assert measured(MIB, 0, 0.0, 3.0) == Tally(read_bytes=MIB, read_microseconds=3_000_000)

    @pytest.mark.parametrize("rest", [0, MIB // 2])
    def test_no_time_at_all_is_a_microsecond(self, rest: int) -> None:
        """A clock that was set back must not divide by nothing, nor earn a negative time."""
        assert measured(MIB, rest, 0.0, 0.0).read_microseconds == 1
        assert measured(MIB, rest, -5.0, -5.0).read_microseconds == 1


Serve = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


class CountingHttp(Http):
    """Tells the world how many bytes of pieces have come."""

    world: World

    async def bytes(self, peer: Peer, call: Call) -> bytes:
        told = call.arrived
        if told is None:
            return await super().bytes(peer, call)

        def both(size: int) -> None:
            told(size)
            self.world.arrived += size

        return await super().bytes(peer, replace(call, arrived=both))


class World:
    """A miner that serves pieces as a test has it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.data = list(DATA)
        self.arrived = 0
        self.serve: Serve = whole
        self.headers: list[set[str]] = []
        self.at_once = 0
        self.most_at_once = 0

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[tuple[PieceReader, Peer]]:
        desk = HelloDesk(MINERS[0], "miner", HOME.network, HOME.netuid, self.clock, space=lambda: (1, 0))
        app = build_app([desk.route(), Route("GET", "/v1/pieces/{root}", self._answer)])
        async with serving(app, "127.0.0.1", 0) as endpoint, open_http(None, self.clock) as http:
            counting = CountingHttp(http._session, None, self.clock)
            counting.world = self
            reader = PieceReader(counting, HOME.network, self.clock, is_local=True)
            yield reader, Peer(endpoint, MINERS[0].public_key)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({name.lower() for name in request.headers})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            data = {root_of(each).hex(): each for each in self.data}[request.match_info["root"]]
            return await self.serve(request, data)
        finally:
            self.at_once -= 1

    async def read(self, *pieces: Piece) -> Tally:
        async with self.reader() as (reader, peer):
            return await reader.read(peer, pieces)


async def whole(_: web.Request, data: bytes) -> web.StreamResponse:
    return web.Response(body=data)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)
    return World()


async def test_pieces_are_read_at_the_same_time_by_somebody_without_a_name(world: World) -> None:
    together = asyncio.Barrier(3)

    async def wait_for_all(_: web.Request, data: bytes) -> web.StreamResponse:
        await together.wait()
        return web.Response(body=data)

    world.serve = wait_for_all
    tally = await world.read(*PIECES)
    assert (tally.reads_ok, tally.reads_total) == (3, 3)
    assert world.most_at_once == 3
    assert all(not any(name.startswith("x-") for name in headers) for headers in world.headers)


async def test_the_second_half_is_timed(world: World) -> None:
    async def slow_start(request: web.Request, data: bytes) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await answer.prepare(request)
        await world.clock.advance(1.5)
        await answer.write(data[: MIB // 2])
        await until(lambda: world.arrived == MIB // 2)
        await world.clock.advance(0.25)
        await answer.write(data[MIB // 2 :])
        return answer

    world.serve = slow_start
    tally = await world.read(PIECES[0])
    assert (tally.reads_ok, tally.reads_total) == (1, 1)
    assert tally.read_bytes == MIB // 2
    assert tally.read_microseconds == 250_000


async def test_short_pieces_are_served_and_not_measured(world: World) -> None:
    short = DATA[0][:1_000]
    world.data.append(short)
    assert await world.read(Piece(root_of(short), 1_000)) == Tally(reads_ok=1, reads_total=1)


async def other_bytes(_: web.Request, data: bytes) -> web.StreamResponse:
    return web.Response(body=data[:-1] + bytes([data[-1] ^ 1]))


async def too_few(_: web.Request, data: bytes) -> web.StreamResponse:
    return web.Response(body=data[:-1])


async def too_many(_: web.Request, data: bytes) -> web.StreamResponse:
    return web.Response(body=data + b"x")


async def refused(_: web.Request, __: bytes) -> web.StreamResponse:
    return web.Response(status=429)


async def reset(request: web.Request, __: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


@pytest.mark.parametrize("serve", [other_bytes, too_few, too_many, refused, reset])
async def test_a_piece_that_did_not_come_whole_and_right_is_no_read(world: World, serve: Serve) -> None:
    world.serve = serve
    assert await world.read(PIECES[0]) == Tally(reads_total=1)


async def test_reads_of_which_one_failed_measure_nothing(world: World) -> None:
    async def one_is_wrong(request: web.Request, data: bytes) -> web.StreamResponse:
        return await (other_bytes if data == DATA[1] else whole)(request, data)

    world.serve = one_is_wrong
    assert await world.read(*PIECES) == Tally(reads_ok=2, reads_total=3)


async def test_nothing_is_read_from_who_does_not_greet_as_the_miner(world: World) -> None:
    async with world.reader() as (reader, peer):
        stranger = Peer(peer.endpoint, MINERS[1].public_key)
        assert await reader.read(stranger, PIECES) == Tally(reads_total=3)
    assert world.headers == []
