"""The outbox: a share for each address, room for whoever holds least, and slow readers cut only while others wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import RateLimitedError
from hippy.transport import limits, outbox
from hippy.transport.outbox import PLACE_BYTES_MIN, SHARES, Outbox, address_of
from hippy.transport.server import Route, build_app, serving

UNIT = PLACE_BYTES_MIN
MIB = 1024 * 1024
BODY = bytes(16 * MIB)
"""More than sockets on loopback buffer."""

A, B, C, D, E = (f"127.0.0.{number}" for number in range(1, 6))


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("a socket", ""),
    ],
)
def test_share_belongs_to_an_ipv4_address_or_an_ipv6_network(remote: str | None, address: str) -> None:
    assert address_of(remote) == address


def make(units: int, *, waiting_max: int = 100, wait_seconds: float = 10.0) -> Outbox:
    return Outbox(units * UNIT, "reads", waiting_max=waiting_max, wait_seconds=wait_seconds)


class Holder:
    """A task that takes a place and keeps it until it is told to leave."""

    def __init__(self, box: Outbox, address: str, length: int = UNIT) -> None:
        self.is_in = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(box, address, length))

    async def _hold(self, box: Outbox, address: str, length: int) -> None:
        async with box.place(address, length):
            self.is_in = True
            await self._leave.wait()
        self.is_in = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task

    async def is_refused(self) -> bool:
        try:
            await self.task
        except RateLimitedError:
            return True
        return False


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def holders(box: Outbox, *addresses: str) -> list[Holder]:
    """Have them line up in this order."""
    made = []
    for address in addresses:
        made.append(Holder(box, address))
        await settle()
    return made


async def clear(*made: Holder) -> None:
    for holder in made:
        holder.task.cancel()
    await asyncio.gather(*(holder.task for holder in made), return_exceptions=True)


async def test_one_address_has_a_quarter_and_the_rest_is_for_others() -> None:
    box = make(8)
    first = await holders(box, A, A, A, A)
    others = await holders(box, B, C, D)
    assert [holder.is_in for holder in first] == [True, True, False, False]
    assert all(holder.is_in for holder in others)
    await first[0].leave()
    await settle()
    assert [holder.is_in for holder in first[1:]] == [True, True, False]
    await clear(*first, *others)


async def test_room_goes_to_the_address_that_holds_least_and_nobody_overtakes_it() -> None:
    box = make(8)
    held = await holders(box, A, A, B, B, C, C, D)
    large = Holder(box, E, 2 * UNIT)  # one unit is free
    await settle()
    small = Holder(box, D)
    await settle()
    assert [large.is_in, small.is_in] == [False, False]
    await held[0].leave()
    await settle()
    assert [large.is_in, small.is_in] == [True, False]
    await held[1].leave()
    await settle()
    assert small.is_in
    await clear(*held, large, small)


async def test_who_waits_is_served_in_order_within_an_address() -> None:
    box = make(4)
    held, (first, second) = await holders(box, A), await holders(box, A, A)
    await held[0].leave()
    await settle()
    assert [first.is_in, second.is_in] == [True, False]
    await clear(first, second)


async def test_full_line_refuses_the_newest_of_the_address_that_waits_most() -> None:
    box = make(4, waiting_max=3)
    held, *waiting = await holders(box, A, A, A, A)
    (other,) = await holders(box, B)
    assert other.is_in, "who need not wait is let through the line"
    assert await waiting[2].is_refused()
    late, later = await holders(box, A, A)
    assert not late.task.done()
    assert await later.is_refused(), "nobody waits less than its address does"
    await clear(held, *waiting, other, late)


async def test_nobody_waits_for_longer_than_is_said() -> None:
    box = make(4, wait_seconds=0.02)
    (held,) = await holders(box, A)
    with pytest.raises(RateLimitedError, match="too many reads"):
        async with box.place(A, UNIT):
            pass
    async with box.place(B, UNIT) as place:
        assert place.waited_seconds < 0.02
    await clear(held)


async def test_answer_longer_than_a_share_takes_a_whole_one() -> None:
    box = make(8)
    async with box.place(A, 10**9):
        (other,) = await holders(box, A)
        assert not other.is_in
        await clear(other)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_all_room_comes_back(seed: int) -> None:
    chance, box, made = random.Random(seed), make(8, waiting_max=5), list[Holder]()
    for _ in range(60):
        if not made or chance.random() < 0.65:
            made.append(Holder(box, chance.choice([A, B, C, D, E]), chance.randrange(1, 3 * UNIT)))
        else:
            chosen = made.pop(chance.randrange(len(made)))
            if chosen.is_in and chance.random() < 0.5:
                await chosen.leave()
            else:
                chosen.task.cancel()
        if chance.random() < 0.7:
            await settle()
        assert box._free_bytes >= 0
        assert all(held <= 8 * UNIT // SHARES for held in box._held.values())
    await clear(*made)
    await settle()
    assert (box._free_bytes, dict(box._held), box._line, box._places) == (8 * UNIT, {}, {}, {})
    assert box._next_look is None


def sending(box: Outbox) -> AbstractAsyncContextManager[Endpoint]:
    """Serve a body under a place in the outbox."""

    async def answer(request: web.Request) -> web.StreamResponse:
        async with box.place(request.remote, len(BODY)) as place:
            return await place.send(request, [BODY])

    return serving(build_app([Route("GET", "/", answer)]), "127.0.0.1", 0)


class Reader:
    """A raw client that takes what it is told to."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = stream
        self.writer = writer
        self.received = 0

    async def status(self) -> bytes:
        line = await self._stream.readline()
        await self._stream.readuntil(b"\r\n\r\n")
        return line.split()[1]

    async def take(self, pause_seconds: float = 0.0) -> bool:
        """Take everything, MiB by MiB, and return whether it came whole."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while self.received < len(BODY):
                self.received += len(await self._stream.readexactly(MIB))
                await asyncio.sleep(pause_seconds)
        return self.received == len(BODY)


@asynccontextmanager
async def readers(endpoint: Endpoint, *addresses: str) -> AsyncIterator[list[Reader]]:
    """Ask from each address, one after the other, and take nothing yet."""
    async with AsyncExitStack() as stack:
        made = []
        for address in addresses:
            stream, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, local_addr=(address, 0), limit=1024
            )
            made.append(Reader(stream, writer))
            stack.callback(writer.transport.abort)
            writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        async with asyncio.timeout(20):
            yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(outbox, "PRESSED_BASE_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "PRESSED_BYTES_PER_SECOND", 2**40)


def room_for(answers: int) -> Outbox:
    return Outbox(answers * len(BODY), "reads", waiting_max=64, wait_seconds=10)


@pytest.mark.usefixtures("quick")
async def test_silent_reader_is_cut_for_one_that_waits_though_no_address_holds_more() -> None:
    async with sending(room_for(4)) as endpoint, readers(endpoint, A, B, C, D) as silent:
        assert [await reader.status() for reader in silent] == [b"200"] * 4
        async with readers(endpoint, E) as (other,):
            assert await other.status() == b"200"
            assert await other.take()
        assert sum([await reader.take() for reader in silent]) == 3, "one was in the way"


@pytest.mark.usefixtures("quick")
async def test_silent_reader_is_cut_for_another_of_its_address() -> None:
    async with sending(room_for(4)) as endpoint, readers(endpoint, A) as (silent,):
        assert await silent.status() == b"200"
        async with readers(endpoint, A) as (other,):
            assert await other.status() == b"200"
            assert await other.take()
        assert not await silent.take()


PAUSE_SECONDS = 0.05
"""After every MiB: an answer takes 0.8 s, and nobody stands still."""


@pytest.mark.usefixtures("quick")
async def test_slow_reader_of_an_address_that_holds_more_is_cut_for_one_that_waits() -> None:
    async with sending(room_for(8)) as endpoint, readers(endpoint, A, A, B, B, C, C, D, D) as slow:
        assert [await reader.status() for reader in slow] == [b"200"] * 8
        taking = asyncio.gather(*(reader.take(PAUSE_SECONDS) for reader in slow))
        async with readers(endpoint, E) as (other,):
            assert await other.status() == b"200"
            assert await other.take()
        assert sum(await taking) == 7


@pytest.mark.usefixtures("quick")
async def test_slow_reader_is_not_cut_where_its_address_would_hold_less_than_the_one_that_waits() -> None:
    async with sending(room_for(4)) as endpoint, readers(endpoint, A, B, C, D) as slow:
        assert [await reader.status() for reader in slow] == [b"200"] * 4
        taking = asyncio.gather(*(reader.take(PAUSE_SECONDS) for reader in slow))
        async with readers(endpoint, E) as (other,):
            assert await other.status() == b"200"
            assert await other.take()
        assert all(await taking)


@pytest.mark.usefixtures("quick")
async def test_slow_readers_finish_while_nobody_waits_and_silent_ones_end_at_the_usual_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the floor, scaled: 16 MiB/s instead of 128 KiB/s, and a base of a second instead of twenty."""
    monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 1.0)
    monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", 16 * MIB)
    loop = asyncio.get_running_loop()
    async with sending(room_for(8)) as endpoint, readers(endpoint, A, A, B, C) as (*slow, silent):
        assert [await reader.status() for reader in (*slow, silent)] == [b"200"] * 4
        began = loop.time()
        assert all(await asyncio.gather(*(reader.take(1 / 16) for reader in slow)))
        assert loop.time() - began > 2 * outbox.pressed_seconds(len(BODY))
        await asyncio.sleep(began + 2.1 - loop.time())
        assert not await silent.take()


def test_answers_are_cut_before_anybody_waited_too_long_for_them() -> None:
    assert max(outbox.STALL_SECONDS, outbox.pressed_seconds(4 * MIB)) + 2 * outbox.LOOK_SECONDS < 5
