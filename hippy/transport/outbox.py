"""Answers on their way out: bounded in memory, shared out by address, and cut when they are slow while others wait.

An answer takes a place before it is read from disk and leaves it when its reader has taken it. All places together
hold ``limit_bytes``, those of one address (:func:`address_of`) a quarter of them; what finds no room waits in a line.
So no address keeps another from being served, however many of its readers take nothing:

- Room goes to whoever waits for the address that holds least, the oldest first; nobody overtakes it.
- A full line makes room for an address that waits less by refusing the newest of the one that waits most.
- While somebody waits, a reader in the way that takes nothing for STALL_SECONDS is cut, and so is one that takes
  longer for its answer than :func:`pressed_seconds` if its address holds more, without it, than the one that waits
  would have. The last answer of an address is thus cut only when it stands still: where it is our own pipe that is
  narrow, all addresses are slow, and cutting them for each other would let none finish.
- While nobody waits, the deadline of hippy.transport.limits is the only one.

Readers behind one address (a carrier's, a proxy's) share its quarter.

Example::

    outbox = Outbox(128 * MIB, "reads", waiting_max=256, wait_seconds=5)
    async with outbox.place(request.remote, length) as place:
        async with turns.turn(waited_seconds=place.waited_seconds):
            data = await read()
        return await place.send(request, [data])
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hippy.errors import RateLimitedError
from hippy.transport.sending import send

if TYPE_CHECKING:
    from typing_extensions import Buffer

SHARES: Final = 4
"""One address has at most this part of the room: three others are served whatever it does."""

PLACE_BYTES_MIN: Final = 512 * 1024
"""What the shortest answer counts as, for its socket and task, and so that short ones cannot fill the line for the
disk."""

PRESSED_BASE_SECONDS: Final = 1.0
PRESSED_BYTES_PER_SECOND: Final = 1536 * 1024
"""A reader may be this slow while others wait: 4 MiB get 3.7 s, less than anybody waits for them."""

STALL_SECONDS: Final = 3.0
"""A reader that takes nothing for so long stands still. Below the 3.7 s, above what a busy pipe of 25 Mbit/s lets one
of 32 readers wait for its next slice: 0.7 s."""

LOOK_SECONDS: Final = 0.25
"""Between two looks at who is in the way, while somebody waits."""

_IPV6_PREFIX: Final = 64
"""A customer's network; who has one has all its addresses."""


def address_of(remote: str | None) -> str:
    """Return whose share a peer's numeric address has: IPv4 by itself, IPv6 by its /64.

    What is no address (a Unix socket's peer has none) shares with all others of the kind.
    """
    try:
        address = ip_address((remote or "").split("%", 1)[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def pressed_seconds(length: int) -> float:
    """Return how long a reader may take for ``length`` bytes while others wait."""
    return PRESSED_BASE_SECONDS + length / PRESSED_BYTES_PER_SECOND


class Place:
    """Room for one answer; made by :meth:`Outbox.place`."""

    __slots__ = ("_began", "_length", "_took_at", "_transport", "address", "granted", "held_bytes", "waited_seconds")

    def __init__(self, address: str, held_bytes: int, granted: asyncio.Future[None]) -> None:
        self.address = address
        self.held_bytes = held_bytes
        self.granted = granted
        self.waited_seconds = 0.0
        """How long it stood in line; for hippy.transport.turns.Turns.turn."""
        self._transport: asyncio.Transport | None = None
        self._length = 0
        self._began = self._took_at = 0.0

    async def send(
        self,
        request: web.Request,
        buffers: list[Buffer],
        *,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """Answer with ``buffers``, as :func:`hippy.transport.sending.send` does, as long as nobody is kept waiting."""
        self._length = sum(memoryview(buffer).nbytes for buffer in buffers)
        self._began = self._took_at = asyncio.get_running_loop().time()
        self._transport = request.transport
        try:
            return await send(request, buffers, content_type=content_type, headers=headers, taken=self._took)
        finally:
            self._transport = None

    def is_still(self, now: float) -> bool:
        """Return whether its reader stands still."""
        return self._transport is not None and now - self._took_at >= STALL_SECONDS

    def is_slow(self, now: float) -> bool:
        """Return whether its reader takes longer than it may while others wait."""
        return self._transport is not None and now - self._began >= pressed_seconds(self._length)

    def cut(self) -> None:
        """Disconnect its reader."""
        if self._transport is not None:
            self._transport.abort()

    def _took(self, _: int) -> None:
        self._took_at = asyncio.get_running_loop().time()


class Outbox:
    """The room for answers on their way out; see the module's docstring. Used in one event loop's thread."""

    def __init__(self, limit_bytes: int, name: str, *, waiting_max: int, wait_seconds: float) -> None:
        self._name = name
        self._free_bytes = limit_bytes
        self._share_bytes = limit_bytes // SHARES
        self._waiting_max = waiting_max
        self._wait_seconds = wait_seconds
        self._held: Counter[str] = Counter()
        self._places: dict[Place, None] = {}
        self._line: dict[Place, None] = {}
        self._next_look: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self, remote: str | None, length: int) -> AsyncIterator[Place]:
        """Wait for room for an answer of ``length`` bytes to ``remote`` and keep it for the duration of the block.

        Raises RateLimitedError when the line is too long or too slow.
        """
        loop = asyncio.get_running_loop()
        held_bytes = min(max(length, PLACE_BYTES_MIN), self._share_bytes)
        place = Place(address_of(remote), held_bytes, loop.create_future())
        began = loop.time()
        try:
            await self._enter(place)
            place.waited_seconds = loop.time() - began
            yield place
        finally:
            self._leave(place)

    async def _enter(self, place: Place) -> None:
        self._line_up(place)
        self._serve()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place.granted
        except TimeoutError:
            raise self._refusal() from None

    def _line_up(self, place: Place) -> None:
        if len(self._line) >= self._waiting_max:
            waiting = Counter(other.address for other in self._line)
            address, most = max(waiting.items(), key=lambda item: item[1], default=("", 0))
            if most <= waiting[place.address] + 1:
                raise self._refusal()
            newest = next(other for other in reversed(self._line) if other.address == address)
            del self._line[newest]
            if not newest.granted.done():  # its task may have been cancelled
                newest.granted.set_exception(self._refusal())
        self._line[place] = None

    def _leave(self, place: Place) -> None:
        """Give room or place in line back, whichever it has; a place that was cut has neither."""
        self._line.pop(place, None)
        self._release(place)
        self._serve()

    def _release(self, place: Place) -> None:
        if place not in self._places:
            return
        del self._places[place]
        self._free_bytes += place.held_bytes
        self._held[place.address] -= place.held_bytes
        if not self._held[place.address]:
            del self._held[place.address]

    def _serve(self) -> None:
        """Give what room there is to those in line."""
        while (place := self._first()) is not None and place.held_bytes <= self._free_bytes:
            del self._line[place]
            if place.granted.done():
                continue
            self._places[place] = None
            self._free_bytes -= place.held_bytes
            self._held[place.address] += place.held_bytes
            place.granted.set_result(None)
        if self._line and self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        elif not self._line and self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _first(self) -> Place | None:
        """Return whose turn it is: the oldest of the address that holds least, among those whose share has room."""
        ready = (place for place in self._line if not self._has_its_share(place))
        return min(ready, key=lambda place: self._held[place.address], default=None)

    def _has_its_share(self, place: Place) -> bool:
        return self._held[place.address] + place.held_bytes > self._share_bytes

    def _look(self) -> None:
        """Cut who is in the way of those in line, one for each of them."""
        self._next_look = None
        now = asyncio.get_running_loop().time()
        for waiting in list(self._line):
            if waiting in self._line and (in_the_way := self._in_the_way_of(waiting, now)) is not None:
                in_the_way.cut()
                self._release(in_the_way)  # its task ends as soon as it runs
                self._serve()
        self._serve()

    def _in_the_way_of(self, waiting: Place, now: float) -> Place | None:
        """Return the answer to cut for somebody in line, of the address that holds most, the longest there."""
        would_hold = self._held[waiting.address] + waiting.held_bytes

        def may_be_cut(place: Place) -> bool:
            if self._has_its_share(waiting):
                return place.address == waiting.address and place.is_still(now)
            holds_more = self._held[place.address] - place.held_bytes >= would_hold
            return place.is_still(now) or (holds_more and place.is_slow(now))

        found = [place for place in self._places if may_be_cut(place)]
        return max(found, key=lambda place: self._held[place.address], default=None)

    def _refusal(self) -> RateLimitedError:
        return RateLimitedError(f"too many {self._name} at once", hint="try again in a moment")
