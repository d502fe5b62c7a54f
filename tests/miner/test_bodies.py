"""Bodies: any chunking gives the piece, wrong lengths and stalls are refused, and nobody takes an answer for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import DeadlineError, ProtocolError
from hippy.miner.bodies import receive, send
from hippy.proofs.tree import leaf_hashes
from hippy.transport import limits
from hippy.transport.server import Route, build_app, serving
from tests.miner.world import SMALL, piece

DATA = piece("a")


def stream() -> StreamReader:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(Mock(spec=asyncio.Transport))
    return StreamReader(protocol, 2**16, loop=loop)


@given(st.lists(st.integers(0, SMALL), max_size=12))
def test_any_chunks_give_the_piece_and_its_leaves(cuts: list[int]) -> None:
    async def run() -> None:
        content = stream()
        whole = asyncio.create_task(receive(content, SMALL))
        for begin, end in pairwise(sorted([0, *cuts, SMALL])):
            if end > begin:
                content.feed_data(DATA[begin:end])
            await asyncio.sleep(0)
        content.feed_eof()
        data, hashes = await whole
        assert data == DATA
        assert hashes == leaf_hashes(DATA)

    asyncio.run(run())


@pytest.mark.parametrize("length", [1, SMALL - 1, SMALL + 1])
async def test_body_of_another_length_is_refused(length: int) -> None:
    content = stream()
    content.feed_data(DATA)
    content.feed_eof()
    with pytest.raises(ProtocolError):
        await receive(content, length)


async def test_body_that_is_too_long_is_not_read_to_its_end() -> None:
    content = stream()
    content.feed_data(DATA)
    async with asyncio.timeout(5):
        with pytest.raises(ProtocolError, match="longer"):
            await receive(content, SMALL - 1)


async def test_body_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALL_SECONDS", 0.01)
    content = stream()
    content.feed_data(DATA[:-1])
    with pytest.raises(DeadlineError):
        await receive(content, SMALL)


async def test_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.0)
    monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", 1e7)
    content = Mock()

    async def never_ends() -> bytes:
        await asyncio.sleep(0.001)
        return b"x"

    content.readany = never_ends
    with pytest.raises(DeadlineError):
        await receive(content, SMALL)


async def test_reader_that_takes_nothing_is_cut_off_at_the_deadline() -> None:
    body = bytes(64 * 1024 * 1024)  # more than sockets buffer
    ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await send(request, [body], deadline_seconds=0.05)
        except ConnectionResetError as error:
            ended.set_result(error)
            raise

    async with serving(build_app([Route("GET", "/", answer)]), "127.0.0.1", 0) as endpoint:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: miner\r\n\r\n")
        async with asyncio.timeout(10):
            assert "too slow" in str(await ended)
            received = 0
            with suppress(ConnectionError):
                while part := await reader.read(2**20):
                    received += len(part)
        assert received < len(body)
        writer.close()
