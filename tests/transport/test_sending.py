"""Sending: an answer arrives whole, slice by slice, and nobody takes it for ever."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import ref

import pytest
import uvloop
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.transport import limits
from hippy.transport.sending import SLICE_BYTES, send
from hippy.transport.server import Route, build_app, serving

if TYPE_CHECKING:
    from typing_extensions import Buffer

LONG = bytes(64 * 1024 * 1024)
"""More than sockets buffer."""


@dataclass
class Sender:
    """A route that sends, and what became of it."""

    buffers: list[Buffer]
    deadline_seconds: float | None = None
    slices: list[int] = field(default_factory=list)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await send(
                request,
                self.buffers,
                deadline_seconds=self.deadline_seconds,
                content_type="text/plain",
                taken=self.slices.append,
            )
        except ConnectionError as error:
            self.ended.set_result(str(error))
            raise

    def serving(self) -> AbstractAsyncContextManager[Endpoint]:
        return serving(build_app([Route("GET", "/", self.answer)]), "127.0.0.1", 0)


@asynccontextmanager
async def asking(endpoint: Endpoint) -> AsyncIterator[asyncio.StreamReader]:
    """Ask and take nothing yet."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
    try:
        async with asyncio.timeout(10):
            yield reader
    finally:
        writer.transport.abort()


async def rest_of(reader: asyncio.StreamReader) -> int:
    received = 0
    with suppress(ConnectionError):
        while part := await reader.read(2**20):
            received += len(part)
    return received


@pytest.mark.parametrize("lengths", [[], [0], [1], [SLICE_BYTES], [SLICE_BYTES + 1], [7, 0, 3 * SLICE_BYTES, 5]])
async def test_buffers_arrive_joined_and_slices_are_told(lengths: list[int]) -> None:
    parts = [bytes([number + 1]) * length for number, length in enumerate(lengths)]
    sender = Sender([*parts])
    async with sender.serving() as endpoint, asking(endpoint) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Content-Length: {sum(lengths)}\r\n".encode() in head
        assert b"Content-Type: text/plain" in head
        assert await reader.read() == b"".join(parts)
    assert sum(sender.slices) == sum(lengths)
    assert all(0 < size <= SLICE_BYTES for size in sender.slices)


async def test_reader_that_takes_nothing_is_cut_off_at_the_deadline() -> None:
    sender = Sender([LONG], deadline_seconds=0.05)
    async with sender.serving() as endpoint, asking(endpoint) as reader:
        assert "too slow" in await sender.ended
        assert await rest_of(reader) < len(LONG)
    assert sum(sender.slices) < len(LONG)


async def test_deadline_is_that_of_the_limits_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.0)
    monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", len(LONG) * 20)
    sender = Sender([LONG])
    async with sender.serving() as endpoint, asking(endpoint) as reader:
        assert "too slow" in await sender.ended
        assert await rest_of(reader) < len(LONG)


async def test_reader_that_hangs_up_ends_the_sending() -> None:
    sender = Sender([LONG])
    async with sender.serving() as endpoint:
        async with asking(endpoint) as reader:
            await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(10):
            assert "hung up" in await sender.ended


class Tracked(bytearray):
    """Bytes whose end can be seen."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(("deadline_seconds", "why"), [(0.05, "too slow"), (None, "hung up")])
def test_answer_that_is_given_up_is_gone_without_a_collector(
    loop: Callable[[], asyncio.AbstractEventLoop], deadline_seconds: float | None, why: str
) -> None:
    async def run() -> None:
        body = Tracked(LONG)
        sender, alive = Sender([body], deadline_seconds), ref(body)
        del body
        async with sender.serving() as endpoint:
            async with asking(endpoint) as reader:
                await reader.readuntil(b"\r\n\r\n")
                assert alive() is not None
                if deadline_seconds is not None:
                    await sender.ended
            async with asyncio.timeout(10):
                assert why in await sender.ended
                while alive() is not None:  # noqa: ASYNC110 - the request's task ends
                    await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
