"""A server's connections: how many there may be, whose, and who is past a deadline.

Every connection is a hippy.transport.connection.Connection before aiohttp, which knows no cap and hardly a deadline.
One timer looks at all of them. Caps: ``connections_max`` in all, fewer of one address. Where all places are taken, an
address with fewer connections gets that of one that has most, if one of those is not busy; where none has more, that of
one that has as many and has done nothing for ``idle_seconds``, so that places are not held by many addresses with one
silent connection each. What is refused is closed at once and told to nobody's log but the counters of :class:`Traffic`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp.web_protocol import RequestHandler

from hippy.transport import limits
from hippy.transport.budgets import Budgets
from hippy.transport.connection import KEEPALIVE_MARGIN_SECONDS, Connection, State
from hippy.transport.limits import ServerLimits
from hippy.transport.outbox import address_of

MakeHandler = Callable[[], RequestHandler]
"""What runner.server of aiohttp is: returns a new protocol."""

_LOOPBACK_6: Final = address_of("::1")


@dataclass(slots=True)
class Traffic:
    """What a server has seen since it started; for metrics."""

    connections: int = 0
    """Accepted."""

    refused: int = 0
    """Closed at once, for a cap."""

    displaced: int = 0
    """Closed to make room for an address that had fewer."""

    cut: int = 0
    """Closed past a deadline."""

    requests: int = 0
    over_budget: int = 0
    """Requests answered 429 before anything was looked at."""

    failures: int = 0
    """Requests and connections that count against the budget of failures."""


class Connections:
    """All connections of one server; :meth:`new` is given to ``loop.create_server``. Used in the loop's thread."""

    def __init__(self, make: MakeHandler, allowed: ServerLimits, budgets: Budgets, traffic: Traffic) -> None:
        self._make = make
        self._budgets = budgets
        self._traffic = traffic
        self._connections_max = min(allowed.connections_max, _descriptors_for_connections())
        self._loop = asyncio.get_running_loop()
        self._open: dict[Connection, None] = {}
        self._by_address: Counter[str] = Counter()
        self._by_handler: dict[RequestHandler, Connection] = {}
        self._next_look: asyncio.TimerHandle | None = None
        self.allowed: Final = allowed
        self.now: Final = self._loop.time
        self.clock = self.now()
        """The time of the last look: what deadlines are counted from. So they have a look more."""

        self.silent_seconds: Final = allowed.silent_seconds + allowed.look_seconds
        self.head_seconds = allowed.head_seconds + allowed.look_seconds
        self.linger_seconds = allowed.linger_seconds + allowed.look_seconds
        self.answered_seconds = limits.KEEPALIVE_SECONDS + KEEPALIVE_MARGIN_SECONDS + allowed.look_seconds
        self._given_seconds: Final = {
            State.WAITING: self.silent_seconds,
            State.HEAD: self.head_seconds,
            State.ANSWERED: self.answered_seconds,
            State.REFUSED: self.linger_seconds,
        }

    def __len__(self) -> int:
        return len(self._open)

    def new(self) -> Connection:
        """Return the protocol of a connection that is being accepted."""
        return Connection(self)

    def of(self, handler: RequestHandler) -> Connection | None:
        """Return whose connection a handler of aiohttp's serves, None when it is lost."""
        return self._by_handler.get(handler)

    def enter(self, connection: Connection) -> bool:
        """Give a connection a place and return True, or False where there is none for its address."""
        address = connection.address
        connection.has_budgets = self.allowed.loopback_has_budgets or not is_loopback(address)
        if self._by_address[address] >= self._share(address) or not self._has_room_for(address):
            if not self._by_address[address]:
                del self._by_address[address]
            self._traffic.refused += 1
            return False
        self._traffic.connections += 1
        self._open[connection] = None
        self._by_address[address] += 1
        connection.state = State.WAITING
        if self._next_look is None:
            self.clock = self.now()
            self._next_look = self._loop.call_later(self.allowed.look_seconds, self._look)
        connection.deadline = self.clock + self.silent_seconds
        return True

    def leave(self, connection: Connection, handler: RequestHandler | None, *, was_garbage: bool) -> None:
        """Take a place back; a connection whose bytes never made a request counts as a failure of its address."""
        if handler is not None:
            self._by_handler.pop(handler, None)
        if was_garbage:
            self.fail(connection)
        self._vacate(connection)

    def make_handler(self, connection: Connection) -> RequestHandler:
        """Return a new handler of aiohttp's for a connection that has begun to speak."""
        handler = self._make()
        self._by_handler[handler] = connection
        return handler

    def fail(self, connection: Connection) -> None:
        """Count a failure of a connection's address."""
        self._traffic.failures += 1
        if connection.has_budgets:
            self._budgets.fail(connection.address, self.now())

    def close(self) -> None:
        """Close what aiohttp does not know of: connections that have said nothing. The rest is its runner's."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        for connection in list(self._open):
            if connection.state is State.WAITING:
                connection.abort()

    def _vacate(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        del self._open[connection]
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def _share(self, address: str) -> int:
        if is_loopback(address):
            return max(self._connections_max // 2, self.allowed.connections_per_address_max)
        return self.allowed.connections_per_address_max

    def _has_room_for(self, address: str) -> bool:
        """Return whether there is a place, if need be that of a connection which has to give way."""
        if len(self._open) < self._connections_max:
            return True
        mine = self._by_address[address]
        greatest, most = max(self._by_address.items(), key=lambda item: item[1])
        if most > mine + 1:
            giving_way = (each for each in self._open if each.address == greatest and each.state is not State.BUSY)
        else:
            giving_way = (each for each in self._open if self._by_address[each.address] >= mine and self._is_idle(each))
        displaced = next(giving_way, None)
        if displaced is None:
            return False
        self._traffic.displaced += 1
        self._vacate(displaced)
        displaced.abort()
        return True

    def _is_idle(self, connection: Connection) -> bool:
        """Return whether a connection has done nothing for ``idle_seconds``, give or take a look."""
        given_seconds = self._given_seconds.get(connection.state)
        return (
            given_seconds is not None and connection.deadline - given_seconds <= self.clock - self.allowed.idle_seconds
        )

    def _look(self) -> None:
        """Close whoever is past a deadline."""
        self.clock = now = self.now()
        for connection in list(self._open):
            if connection.deadline < now and connection.state is not State.BUSY:
                self._traffic.cut += 1
                connection.expire()
        open_still = bool(self._open)
        self._next_look = self._loop.call_later(self.allowed.look_seconds, self._look) if open_still else None


def is_loopback(address: str) -> bool:
    """Return whether what hippy.transport.outbox.address_of returned is this machine's own."""
    return address.startswith("127.") or address == _LOOPBACK_6


def _descriptors_for_connections() -> int:
    """Return how many connections this process has file descriptors for."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are none
        return limits.CONNECTIONS_SERVED_MAX
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(1, int(soft * limits.CONNECTIONS_PER_FILE))
