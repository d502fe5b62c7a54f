"""The answering half: an aiohttp application whose every failure is one JSON error.

A handler gets the request, reads its body through :func:`read_body` (bounded in size and time), asks its
:class:`Guard` who sent it, and returns bytes or raises a HippyError. Nothing here decides who may do
what. :func:`serving` puts hippy.transport.connections and hippy.transport.gate before the application: deadlines, caps,
and the budgets of addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import StreamReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, DeadlineError, ProtocolError, TooLargeError
from hippy.ids import PublicKey
from hippy.transport import limits
from hippy.transport.answers import described, error_response, message_response
from hippy.transport.budgets import Budgets
from hippy.transport.connections import Connections, Traffic
from hippy.transport.gate import Gate, check_head
from hippy.transport.limits import ServerLimits
from hippy.wire.btauth import NonceWindow, SignedRequest, verify_request

__all__ = ["Guard", "Route", "build_app", "error_response", "message_response", "read_body", "serving"]

log = logging.getLogger("hippy.transport")


class _OwnFaults(logging.Filter):
    """Drops what aiohttp tells of bad HTTP and of peers that hang up: any scanner could fill a disk with it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is worth keeping."""
        fault = record.exc_info[1] if record.exc_info else None
        return not isinstance(fault, HttpProcessingError | ConnectionError)


_aiohttp_log = logging.getLogger("hippy.transport.aiohttp")
_aiohttp_log.addFilter(_OwnFaults())

R = TypeVar("R", bound=web.StreamResponse | None)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ExpectHandler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    ``expect`` runs before the body is sent, for routes whose bodies are large. Before it, and before the handler, a
    request is refused by its head alone: one that announces more than ``body_bytes_max`` bytes, and one without the
    headers of a signature where the route is ``signed``.
    """

    method: str
    path: str
    handler: Handler
    expect: ExpectHandler | None = None
    body_bytes_max: int | None = None
    signed: bool = False


@dataclass(slots=True)
class Guard:
    """Who we are, and which signed requests we have seen: what authenticating a request needs."""

    hotkey: PublicKey
    clock: Clock
    nonces: NonceWindow

    def sender(self, request: web.Request, body: bytes) -> PublicKey:
        """Return the key that signed the request over ``body``.

        Raises AuthError.
        """
        signed = SignedRequest(request.method, request.raw_path, body)
        now_ns = int(self.clock.now() * 1e9)
        return verify_request(request.headers, signed, receiver=self.hotkey, nonces=self.nonces, now_ns=now_ns)


def build_app(routes: Sequence[Route]) -> web.Application:
    """Return an application that answers ``routes``; it is served by :func:`serving`, which makes errors JSON."""
    app = web.Application()
    for route in routes:
        app.router.add_route(route.method, route.path, _by_head(route), expect_handler=_guarded(route))
    return app


@asynccontextmanager
async def serving(
    app: web.Application,
    host: str,
    port: int,
    *,
    allowed: ServerLimits | None = None,
    traffic: Traffic | None = None,
) -> AsyncIterator[Endpoint]:
    """Serve ``app`` until the context ends; yields where it listens (port 0: a free one).

    ``allowed`` is what peers are granted, ``traffic`` counts what they do. Raises ConfigError when the address
    cannot be bound.
    """
    allowed, traffic = allowed or ServerLimits(), traffic or Traffic()
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_aiohttp_log,
        handle_signals=False,
        keepalive_timeout=limits.KEEPALIVE_SECONDS,
        shutdown_timeout=limits.SHUTDOWN_SECONDS,
        lingering_time=allowed.linger_seconds,
        max_line_size=limits.HEADER_BYTES_MAX,
        max_field_size=limits.HEADER_BYTES_MAX,
        max_headers=limits.HEADERS_MAX,
        auto_decompress=False,  # signatures and limits are about the bytes that were sent
    )
    await runner.setup()
    assert runner.server is not None
    budgets = Budgets(requests=allowed.requests, anonymous=allowed.anonymous, failures=allowed.failures)
    connections = Connections(runner.server, allowed, budgets, traffic)
    gate = Gate(app, runner.server.request_handler, connections, budgets, traffic)
    runner.server.request_handler = gate.answer
    try:
        async with _listening(connections, host, port) as endpoint:
            yield endpoint
    finally:
        connections.close()
        await runner.cleanup()


@asynccontextmanager
async def _listening(connections: Connections, host: str, port: int) -> AsyncIterator[Endpoint]:
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(connections.new, host, port, backlog=limits.BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            hint="another program may use the port; choose a different one",
        ) from None
    try:
        bound = listener.sockets[0].getsockname()
        yield Endpoint(bound[0], bound[1])
    finally:
        listener.close()


async def read_body(request: web.Request, limit: int, *, arrived: Callable[[int], None] = lambda _: None) -> bytes:
    """Return the whole body; ``arrived`` hears of bytes as they come and may raise to refuse more.

    Raises TooLargeError above ``limit`` bytes (before reading where the length is announced) and DeadlineError
    when the sender stalls or is slower than hippy.transport.limits allows: at every moment, so that a body of unknown
    or great length that does not come is given up as soon as a short one.
    """
    announced = request.content_length
    if announced is not None and announced > limit:
        raise TooLargeError(f"the body has {announced} bytes, the limit is {limit}")
    if request.content.is_eof() and request.content.exception() is None:  # it came with its head: no deadline is needed
        return _here(request.content, limit, arrived)
    parts, size = [], 0
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began + limits.deadline_seconds(0)) as deadline:
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise TooLargeError(f"the body is longer than {limit} bytes")
                arrived(len(chunk))
                parts.append(chunk)
                deadline.reschedule(began + limits.deadline_seconds(size))
    except TimeoutError:
        raise DeadlineError("the body did not arrive in time") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise ProtocolError("the body is not framed as HTTP has it") from None
    return b"".join(parts)


def _here(content: StreamReader, limit: int, arrived: Callable[[int], None]) -> bytes:
    """Return a body that has arrived, as read_body does."""
    size = content.total_bytes
    if size > limit:
        raise TooLargeError(f"the body is longer than {limit} bytes")
    if size:
        arrived(size)
    return content.read_nowait()


def _by_head(route: Route) -> Handler:
    """Return a route's handler behind the checks of a request's head."""
    if route.body_bytes_max is None and not route.signed:
        return route.handler

    async def handler(request: web.Request) -> web.StreamResponse:
        check_head(request, body_bytes_max=route.body_bytes_max, signed=route.signed)
        return await route.handler(request)

    return handler


def _guarded(route: Route) -> ExpectHandler:
    """aiohttp runs expect handlers outside the middlewares; give them the same errors, and say go on."""

    async def expect(request: web.Request) -> web.StreamResponse | None:
        if request.headers[hdrs.EXPECT].lower() != "100-continue":
            raise web.HTTPExpectationFailed
        check_head(request, body_bytes_max=route.body_bytes_max, signed=route.signed)
        return None if route.expect is None else await route.expect(request)

    async def checked(request: web.Request) -> web.StreamResponse | None:
        try:
            refused = await expect(request)
        except Exception as error:  # noqa: BLE001 - the top of a request; what is unexpected is logged
            refused = described(request, error)
        if refused is not None:
            refused.force_close()
            return refused
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    return checked
