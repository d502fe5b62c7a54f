"""Sockets in memory between simulated processes: late, lost, cut and refused as a seed draws it.

A :class:`Network` is what a :class:`hippy.testing.loop.SimulatedLoop` connects and listens through. Bytes of one
direction arrive in order, each run of them after its own delay. A :class:`Weather` says what may happen to them: they
come late, the connection breaks before or after they arrived (the answer is lost, and whoever asked asks again), or
nothing comes any more at all until somebody's patience ends.

Invariants: within a connection bytes are neither lost, doubled nor reordered while it lives, as TCP has it; what a dead
process writes reaches nobody.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hippy.testing.loop import Process

Address = tuple[str, int]
FIRST_PORT: Final = 20_000
GAP_SECONDS: Final = 1e-6
"""Runs of bytes never arrive at the same instant, so their order is no accident."""


@dataclass(slots=True)
class Weather:
    """What happens to bytes on their way. Probabilities are for each run of bytes."""

    delay_seconds: float = 0.01
    """At most; the mean is half of it."""

    late: float = 0.0
    late_seconds: float = 3.0
    cut_before: float = 0.0
    """The connection breaks and the bytes never arrive."""

    cut_after: float = 0.0
    """The connection breaks once they have arrived: their sender will not know."""

    silence: float = 0.0
    """Nothing arrives any more on this connection, and nobody is told."""


class Network:
    """All connections of one simulation."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.weather = Weather()
        self.runs = 0
        """Of bytes that were sent so far."""

        self._listening: dict[Address, _Server] = {}
        self._ends: dict[_End, None] = {}
        self._ports = FIRST_PORT

    async def dial(self, address: Address, process: Process) -> None:
        """Return when ``address`` has taken a connection; raises ConnectionRefusedError where nobody listens."""
        await asyncio.sleep(self.rng.random() * self.weather.delay_seconds)
        if address not in self._listening or not process.is_alive:
            raise ConnectionRefusedError(f"nobody listens at {address}")

    def connect(
        self, factory: Callable[[], asyncio.Protocol], address: Address, process: Process
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Return both halves of the caller's end; raises ConnectionRefusedError."""
        server = self._listening.get(address)
        if server is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        self._ports += 1
        here = _End(self, process, copy_context(), ("127.0.0.1", self._ports))
        there = _End(self, server.process, server.context.copy(), address)
        here.join(there)
        there.join(here)
        for end in (here, there):
            self._ends[end] = None
        there.context.run(there.begin, server.factory())
        here.begin(factory())
        return here, here.get_protocol()

    def listen(self, factory: Callable[[], asyncio.Protocol], address: Address, process: Process) -> _Server:
        """Return a server at ``address``; raises OSError when another is there."""
        if address[1] == 0:
            self._ports += 1
            address = address[0], self._ports
        if address in self._listening:
            raise OSError(f"{address} is in use")
        server = self._listening[address] = _Server(self, factory, address, process)
        return server

    def cut(self, process: Process) -> None:
        """End every connection of a process, and its servers."""
        for end in [end for end in self._ends if end.process is process]:
            end.cut()
        for server in [server for server in self._listening.values() if server.process is process]:
            server.close()

    def forget(self, end: _End) -> None:
        """Remove an end that is lost."""
        self._ends.pop(end, None)

    def stop(self, server: _Server) -> None:
        """Remove a server, unless another has taken its place."""
        if self._listening.get(server.address) is server:
            del self._listening[server.address]


class _Server(asyncio.AbstractServer):
    def __init__(
        self, network: Network, factory: Callable[[], asyncio.Protocol], address: Address, process: Process
    ) -> None:
        self.factory = factory
        self.address = address
        self.process = process
        self.context = copy_context()
        self._network = network

    @property
    def sockets(self) -> list[_Name]:
        return [_Name(self.address)]

    def close(self) -> None:
        self._network.stop(self)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def is_serving(self) -> bool:
        return True

    async def start_serving(self) -> None:
        """It does from the beginning."""

    async def serve_forever(self) -> None:
        """It does so without being told."""

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""


class _Name:
    """As much of a socket as says where it is."""

    family = socket.AF_INET

    def __init__(self, address: Address) -> None:
        self._address = address

    def getsockname(self) -> Address:
        return self._address


class _End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, process: Process, context: Context, address: Address) -> None:
        super().__init__()
        self.process = process
        self.context = context
        self.address = address
        self._network = network
        self._loop = network.loop
        self._sending = bytearray()
        self._held = bytearray()
        self._due = 0.0
        self._is_closing = self._is_lost = self._is_paused = self._is_silent = self._is_over = False

    def join(self, other: _End) -> None:
        self._other = other

    def begin(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._other.address, "sockname": self.address}.get(name, default)

    def get_protocol(self) -> asyncio.Protocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def write(self, data: Any) -> None:
        if self._is_closing or not self.process.is_alive or not len(data):
            return
        if not self._sending:
            self._later(self._arrive, self._delay())
        self._sending += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no limit."""

    def is_reading(self) -> bool:
        return not self._is_paused

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._loop.call_soon(self._hand_over, context=self.context.copy())

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._later(lambda: self._other.ended(None), 0.0)
            self._loop.call_soon(self._lose, None, context=self.context.copy())

    def abort(self) -> None:
        self.cut()

    def cut(self) -> None:
        """End the connection at both ends: here now, there when the news has travelled."""
        if not self._is_lost:
            self._is_closing = True
            self._sending.clear()
            self._later(lambda: self._other.ended(ConnectionResetError("the peer is gone")), self._delay())
            self._loop.call_soon(self._lose, ConnectionAbortedError("cut off"), context=self.context.copy())

    def ended(self, error: Exception | None) -> None:
        """Hear that the other end is gone."""
        if self._is_lost or self._is_silent:
            return
        if error is None and self._held:
            self._is_over = True
            return
        if error is None:
            self._protocol.eof_received()
        self._is_closing = True
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._network.forget(self)
            self._protocol.connection_lost(error)

    def _delay(self) -> float:
        weather, chance = self._network.weather, self._network.rng.random
        delay = chance() * weather.delay_seconds
        return delay + (chance() * weather.late_seconds if weather.late and chance() < weather.late else 0.0)

    def _later(self, work: Callable[[], None], seconds: float) -> None:
        """Have something happen at the other end, behind all that is on its way there."""
        self._due = max(self._due + GAP_SECONDS, self._loop.time() + seconds)
        self._loop.call_at(self._due, work, context=self._other.context.copy())

    def _arrive(self) -> None:
        data, self._sending = self._sending, bytearray()
        network, other = self._network, self._other
        network.runs += 1
        weather, chance = network.weather, network.rng.random
        if self._is_silent or not data:
            return
        if weather.silence and chance() < weather.silence:
            self._is_silent = other._is_silent = True
            return
        if weather.cut_before and chance() < weather.cut_before:
            self.cut()
            return
        if not other._is_lost and other.process.is_alive:
            other._held += data
            other._hand_over()
        if weather.cut_after and chance() < weather.cut_after:
            self.cut()

    def _hand_over(self) -> None:
        if self._held and not self._is_paused and not self._is_lost:
            data, self._held = bytes(self._held), bytearray()
            self._protocol.data_received(data)
        if self._is_over and not self._held:
            self._is_over = False
            self.ended(None)
