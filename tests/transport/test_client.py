"""Where connections leave from, and what is told while an answer comes."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import TooLargeError, UnreachableError
from hippy.identity import Identity
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Call, Peer, open_http
from hippy.transport.server import Route, build_app, serving

SERVER = Identity.from_seed(b"s" * 32).public_key
BODY = bytes(range(256)) * 1_000


def _can_bind(host: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


async def remote(request: web.Request) -> web.StreamResponse:
    return web.Response(text=request.remote)


@pytest.mark.skipif(not _can_bind("127.0.0.3"), reason="this machine has one loopback address")
async def test_connections_leave_from_the_address_that_is_given() -> None:
    async with serving(build_app([Route("GET", "/", remote)]), "127.0.0.1", 0) as endpoint:
        for source_host, seen in (("127.0.0.3", b"127.0.0.3"), (None, b"127.0.0.1")):
            async with open_http(None, VirtualClock(), source_host=source_host) as http:
                assert await http.bytes(Peer(endpoint, SERVER), Call("GET", "/")) == seen


async def test_an_address_that_is_not_ours_reaches_nobody() -> None:
    async with (
        serving(build_app([Route("GET", "/", remote)]), "127.0.0.1", 0) as endpoint,
        open_http(None, VirtualClock(), source_host="192.0.2.1") as http,
    ):
        with pytest.raises(UnreachableError):
            await http.bytes(Peer(endpoint, SERVER), Call("GET", "/"))


async def test_bytes_are_told_as_they_come() -> None:
    arrived: list[int] = []
    half_came = asyncio.Event()

    async def in_halves(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await answer.prepare(request)
        await answer.write(BODY[: len(BODY) // 2])
        await half_came.wait()
        await answer.write(BODY[len(BODY) // 2 :])
        return answer

    def note(size: int) -> None:
        arrived.append(size)
        if sum(arrived) == len(BODY) // 2:
            half_came.set()  # or the rest would never be sent

    async with (
        serving(build_app([Route("GET", "/", in_halves)]), "127.0.0.1", 0) as endpoint,
        open_http(None, VirtualClock()) as http,
    ):
        call = Call("GET", "/", answer_bytes_max=len(BODY), arrived=note)
        assert await http.bytes(Peer(endpoint, SERVER), call) == BODY
    assert half_came.is_set()
    assert sum(arrived) == len(BODY)


async def test_what_is_beyond_the_limit_is_not_told() -> None:
    arrived: list[int] = []

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        while True:
            await answer.write(BODY)

    async with (
        serving(build_app([Route("GET", "/", endless)]), "127.0.0.1", 0) as endpoint,
        open_http(None, VirtualClock()) as http,
    ):
        with pytest.raises(TooLargeError):
            await http.bytes(
                Peer(endpoint, SERVER), Call("GET", "/", answer_bytes_max=1_000_000, arrived=arrived.append)
            )
    assert sum(arrived) <= 1_000_000


async def test_a_peer_that_is_not_there_is_told_in_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = Peer(Endpoint("127.0.0.1", unused.getsockname()[1]), SERVER)
        async with open_http(None, VirtualClock()) as http:
            with pytest.raises(UnreachableError, match="connection refused"):
                await http.request(peer, Call("GET", "/v1/hello"))
