"""Five hundred connections that keep a real miner waiting: others are served, all are ended, and its memory stays."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from hippy.proofs.tree import root_of
from hippy.transport.client import Call, Peer, open_http
from hippy.wire.btauth import SignedRequest, sign_request
from tests.fuzz.node import CLOCK, SHORT, STORED, Node, running
from tests.miner.world import ACCOUNT, MIB, MINER
from tests.transport.streams import Line, get, line

ATTACKERS = 500
END_BY_SECONDS = 15.0
"""Their deadlines are two seconds and a bit; the machine may be busy."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]


def _half_body() -> bytes:
    """Return a request that is signed as it seems, and whose body is still to come."""
    signed = sign_request(ACCOUNT, SignedRequest("POST", "/v1/audit", b""), receiver=MINER.public_key, now_ns=1)
    headers = (f"{key}: {signed[key]}" for key in signed)
    return get("/v1/audit", *headers, "Content-Length: 2000", method="POST")


async def _hold(attacker: Line, opening: bytes, drop: bytes) -> float:
    """Begin, send a byte now and then for ever; return when the server had enough."""
    ended = asyncio.ensure_future(attacker.ended())
    with suppress(ConnectionError):
        if opening:
            attacker.say(opening)
        while not ended.done():
            await asyncio.wait([ended], timeout=0.25)
            if drop:
                attacker.say(drop)
    await ended
    return time.monotonic()


async def _serve_others(node: Node, until: asyncio.Event) -> list[float]:
    """Read a piece again and again from another address; return how long each took."""
    peer, took = Peer(node.endpoint, MINER.public_key), []
    call = Call("GET", f"/v1/pieces/{root_of(STORED).hex()}", answer_bytes_max=MIB, deadline_seconds=5)
    async with open_http(None, CLOCK, source_host="127.0.0.2") as http:
        while not until.is_set():
            began = time.monotonic()
            assert await http.bytes(peer, call) == STORED
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.02)
    return took


async def _watch(node: Node, until: asyncio.Event) -> int:
    most = 0
    while not until.is_set():
        most = max(most, node.rss_bytes())
        await asyncio.sleep(0.05)
    return most


async def test_five_hundred_slow_connections_keep_nobody_from_being_served(tmp_path: Path) -> None:
    with running("miner", tmp_path, short=True) as node:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            warm = asyncio.Event()
            asyncio.get_running_loop().call_later(0.5, warm.set)
            await _serve_others(node, warm)
            before, began, over = node.rss_bytes(), time.monotonic(), asyncio.Event()
            others, watching = asyncio.create_task(_serve_others(node, over)), asyncio.create_task(_watch(node, over))
            kinds = [(b"", b""), (b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"), (_half_body(), b"x")]
            lines = [await stack.enter_async_context(line(node.endpoint)) for _ in range(ATTACKERS)]
            holding = (_hold(each, *kinds[number % 3]) for number, each in enumerate(lines))
            ends = await asyncio.gather(*holding)
            over.set()
            took, most = await others, await watching
        assert max(ends) - began < END_BY_SECONDS
        assert len(took) >= 20
        assert most - before < 24 * MIB
        assert sorted(ends)[ATTACKERS // 2] - began > SHORT.head_seconds / 2  # they did hold on
        assert node.log() == ""
