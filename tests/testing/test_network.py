"""Sockets in memory: what aiohttp and hippy see of them, in every weather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hippy.errors import DeadlineError, UnreachableError
from hippy.identity import Identity
from hippy.testing.loop import LoopClock, Process, SimulatedLoop, run_simulated
from hippy.testing.network import Weather
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.server import Route, build_app, serving

IDENTITY = Identity.from_seed(b"i" * 32)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return run_simulated(work, seed=1)


def loop() -> SimulatedLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, SimulatedLoop)
    return running


class Echo:
    """A server that answers what it is sent; it counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.process = Process("server")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Http, Peer]]:
        """Yield a client and where to ask."""
        ready: asyncio.Future[Peer] = loop().create_future()
        loop().start(self.process, self._serve(ready))
        peer = await ready
        async with open_http(None, LoopClock()) as http:
            yield http, peer

    async def _serve(self, ready: asyncio.Future[Peer]) -> None:
        async def echo(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            self.asked += 1
            return web.Response(body=body)

        async with serving(build_app([Route("POST", "/v1/echo", echo)]), "127.0.0.1", 0) as endpoint:
            ready.set_result(Peer(endpoint, IDENTITY.public_key))
            await asyncio.Event().wait()


def call(body: bytes = b"hello") -> Call:
    return Call("POST", "/v1/echo", body)


def test_a_request_and_its_answer_arrive_after_the_delay() -> None:
    async def main() -> None:
        loop().network.weather = Weather(delay_seconds=2.0)
        async with Echo().open() as (http, peer):
            assert await http.bytes(peer, call()) == b"hello"
            assert 1.0 < loop().time() < 8.0

    run(main())


def test_a_body_of_many_chunks_arrives_whole() -> None:
    async def main() -> None:
        body = bytes(range(256)) * 150
        async with Echo().open() as (http, peer):
            assert await http.bytes(peer, call(body)) == body

    run(main())


def test_nobody_answers_where_nobody_listens() -> None:
    async def main() -> None:
        echo = Echo()
        async with echo.open() as (http, peer):
            loop().kill(echo.process)
            with pytest.raises(UnreachableError):
                await http.bytes(peer, call())

    run(main())


def test_a_connection_breaks_when_the_process_at_its_end_is_killed() -> None:
    async def main() -> None:
        echo = Echo()
        loop().network.weather = Weather(delay_seconds=10.0)
        async with echo.open() as (http, peer):
            task = asyncio.create_task(http.bytes(peer, call()))
            await asyncio.sleep(12.0)
            loop().kill(echo.process)
            with pytest.raises(UnreachableError):
                await task

    run(main())


def test_a_connection_cut_before_its_bytes_arrive_is_a_request_never_made() -> None:
    async def main() -> None:
        echo = Echo()
        async with echo.open() as (http, peer):
            loop().network.weather = Weather(cut_before=1.0)
            with pytest.raises(UnreachableError):
                await http.bytes(peer, call())
            assert echo.asked == 0

    run(main())


def test_a_connection_cut_after_its_bytes_arrived_is_an_answer_lost() -> None:
    async def main() -> None:
        echo = Echo()
        async with echo.open() as (http, peer):
            loop().network.weather = Weather(cut_after=1.0)
            with pytest.raises(UnreachableError):
                await http.bytes(peer, call())
            await asyncio.sleep(1.0)
            assert echo.asked == 1

    run(main())


def test_silence_ends_with_the_callers_patience() -> None:
    async def main() -> None:
        async with Echo().open() as (http, peer):
            loop().network.weather = Weather(silence=1.0)
            with pytest.raises(DeadlineError):
                await http.bytes(peer, call())

    run(main())


def test_an_address_is_taken_once() -> None:
    async def main() -> None:
        async with Echo().open() as (_, peer):
            with pytest.raises(OSError, match="in use"):
                await loop().create_server(asyncio.Protocol, peer.endpoint.host, peer.endpoint.port)

    run(main())
