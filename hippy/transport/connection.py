"""One connection of a server's: what it is doing, and until when it must have said something.

aiohttp parses requests and answers them; it knows no deadline but one for idle connections. So every connection is
accepted by a :class:`Connection`, which looks at what passes and hands it on to a handler of aiohttp's that is made
with the first byte. Its states:

- WAITING  nothing was sent yet: ``silent_seconds``, then it is closed.
- HEAD     a request has begun: ``head_seconds`` from its first byte, however many follow, then 408.
- BUSY     a request is being answered. Whoever reads its body has the deadline (read_body).
- ANSWERED the answer is on its way, or nothing is: until the reader must have taken it, and no less than aiohttp
  keeps idle connections, which it closes itself.
- REFUSED  it was answered, but its body was not read: what is left of it is thrown away for ``linger_seconds`` or
  LINGER_BYTES_MAX, so that the refusal is not lost on its sender; then it is cut.

Deadlines are looked at by hippy.transport.connections, which also says who gets a place: they cost a request one
addition.
"""

from __future__ import annotations

import asyncio
import json
from enum import Enum, auto
from typing import Final, Protocol, cast

from aiohttp.web_protocol import RequestHandler

from hippy.transport import limits
from hippy.transport.outbox import address_of

KEEPALIVE_MARGIN_SECONDS: Final = 5.0
"""After aiohttp must have closed an idle connection itself, gracefully."""

SHORT_ANSWER_BYTES: Final = 64 * 1024
"""Shorter ones are taken in the time that an idle connection is kept."""


class Owner(Protocol):
    """Whose connections they are: gives places, and counts. Its times are in seconds of the loop."""

    clock: float
    """The time of the last look: what deadlines are counted from."""

    head_seconds: float
    linger_seconds: float
    answered_seconds: float

    def enter(self, connection: Connection) -> bool:
        """Give a connection a place and return True, or False where there is none for its address."""

    def leave(self, connection: Connection, handler: RequestHandler | None, *, was_garbage: bool) -> None:
        """Take its place back."""

    def make_handler(self, connection: Connection) -> RequestHandler:
        """Return a new handler of aiohttp's for it."""


class State(Enum):
    """What a connection is doing; see the module's docstring."""

    WAITING = auto()
    HEAD = auto()
    BUSY = auto()
    ANSWERED = auto()
    REFUSED = auto()
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """One connection; made by hippy.transport.connections for the event loop."""

    __slots__ = (
        "_handler",
        "_lingered",
        "_made_request",
        "_owner",
        "_transport",
        "address",
        "deadline",
        "has_budgets",
        "state",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._handler: RequestHandler | None = None
        self._made_request = False
        self._lingered = 0
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self.has_budgets = True
        self.deadline = 0.0
        self.state = State.CLOSED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or close."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = address_of(peer[0] if isinstance(peer, tuple) else None)
        if not self._owner.enter(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Hand bytes on to aiohttp."""
        state = self.state
        if state is State.ANSWERED:
            self.state = State.HEAD
            head_by = self._owner.clock + self._owner.head_seconds
            still_sending = self._transport is not None and self._transport.get_write_buffer_size()
            self.deadline = max(self.deadline, head_by) if still_sending else head_by
        elif state is not State.BUSY and state is not State.HEAD and not self._takes_more(len(data)):
            return
        if self._handler is None:
            self._handler = self._owner.make_handler(self)
            assert self._transport is not None
            self._handler.connection_made(self._transport)
        self._handler.data_received(data)

    def _takes_more(self, size: int) -> bool:
        """Return whether bytes are still for aiohttp, where nothing was sent before or a refusal is being read."""
        if self.state is State.WAITING:
            self.state = State.HEAD
            self.deadline = self._owner.clock + self._owner.head_seconds
            return True
        self._lingered += size
        if self._lingered > limits.LINGER_BYTES_MAX:
            self.abort()
        return self.state is State.REFUSED

    def eof_received(self) -> None:
        """Let the transport close: nobody here talks on when the other side has stopped."""

    def pause_writing(self) -> None:
        """Tell aiohttp that the peer takes nothing at the moment."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp that the peer takes again."""
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        handler, self._handler, self._transport = self._handler, None, None
        self.state = State.CLOSED
        self._owner.leave(self, handler, was_garbage=handler is not None and not self._made_request)
        if handler is not None:
            handler.connection_lost(exc)

    def begin(self) -> None:
        """Take note that a request's head is there and is being answered."""
        self.state = State.BUSY
        self._made_request = True

    def end(self, answer_bytes: int) -> None:
        """Take note that a request was answered."""
        self.state = State.ANSWERED
        self.deadline = self._owner.clock + self._owner.answered_seconds
        if answer_bytes > SHORT_ANSWER_BYTES:
            self.deadline += limits.deadline_seconds(answer_bytes)

    def refuse(self) -> None:
        """Take note that a request was answered without its body having been read."""
        self.state = State.REFUSED
        self.deadline = self._owner.clock + self._owner.linger_seconds

    def expire(self) -> None:
        """Close it: its deadline is past. Whoever began a request is told so."""
        transport = self._transport
        if self.state is not State.HEAD or transport is None or transport.get_write_buffer_size():
            self.abort()
            return
        self.state = State.CLOSED
        transport.write(_TOO_SLOW)
        transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self.state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()


def _raw_answer(status: str, code: str, message: str) -> bytes:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return head.encode() + b"\r\n" + body


_TOO_SLOW: Final = _raw_answer("408 Request Timeout", "timeout", "the head of the request did not arrive in time")
