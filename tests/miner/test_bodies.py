"""Bodies: any chunking gives the piece, wrong lengths and stalls are refused."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from traceback import walk_tb
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import DeadlineError, ProtocolError
from hippy.miner.bodies import receive
from hippy.proofs.tree import leaf_hashes
from hippy.transport import limits
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


async def test_body_that_breaks_off_leaves_no_bytes_in_its_error() -> None:
    content = stream()
    content.feed_data(DATA[:-1])
    content.feed_eof()
    with pytest.raises(ProtocolError) as caught:
        await receive(content, SMALL)
    frames = [frame for frame, _ in walk_tb(caught.tb)]
    kept = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, bytearray)]
    assert kept == [b"", b""]


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
