"""The answering half: an aiohttp application whose every failure is one JSON error.

A handler gets the request, reads its body through :func:`read_body` (bounded in size and time), asks
:func:`authenticate` who sent it, and returns bytes or raises a HippyError. Nothing here decides who may do
what.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import HTTP_STATUS, ConfigError, DeadlineError, HippyError, ProtocolError, TooLargeError
from hippy.ids import PublicKey
from hippy.transport import limits
from hippy.wire.btauth import NonceWindow, SignedRequest, verify_request
from hippy.wire.canonical import Message

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
    """One endpoint. ``expect`` runs before the body is sent, for routes whose bodies are large."""

    method: str
    path: str
    handler: Handler
    expect: ExpectHandler | None = None


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
    """Return an application that answers ``routes`` and says so in JSON when it cannot."""
    app = web.Application(middlewares=[_errors_as_json])
    for route in routes:
        app.router.add_route(
            route.method,
            route.path,
            route.handler,
            expect_handler=_guarded(route.expect) if route.expect else None,
        )
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[Endpoint]:
    """Serve ``app`` until the context ends; yields where it listens (port 0: a free one).

    Raises ConfigError when the address cannot be bound.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_aiohttp_log,
        handle_signals=False,
        keepalive_timeout=limits.KEEPALIVE_SECONDS,
        shutdown_timeout=limits.SHUTDOWN_SECONDS,
        auto_decompress=False,  # signatures and limits are about the bytes that were sent
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=512).start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                hint="another program may use the port; choose a different one",
            ) from None
        bound = runner.addresses[0]
        yield Endpoint(bound[0], bound[1])
    finally:
        await runner.cleanup()


async def read_body(request: web.Request, limit: int, *, arrived: Callable[[int], None] = lambda _: None) -> bytes:
    """Return the whole body; ``arrived`` hears of bytes as they come and may raise to refuse more.

    Raises TooLargeError above ``limit`` bytes (before reading where the length is announced) and DeadlineError
    when the sender stalls or is slower than hippy.transport.limits allows.
    """
    announced = request.content_length
    if announced is not None and announced > limit:
        raise TooLargeError(f"the body has {announced} bytes, the limit is {limit}")
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.deadline_seconds(announced or limit)):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise TooLargeError(f"the body is longer than {limit} bytes")
                arrived(len(chunk))
                parts.append(chunk)
    except TimeoutError:
        raise DeadlineError("the body did not arrive in time") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise ProtocolError("the body is not framed as HTTP has it") from None
    return b"".join(parts)


def message_response(message: Message, *, status: int = 200) -> web.Response:
    """Return a message as a response."""
    return web.Response(status=status, body=message.encode(), content_type="application/json")


def error_response(error: HippyError, *, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as the JSON every client reads."""
    described = {"code": error.code, "message": error.message}
    if error.hint:
        described["hint"] = error.hint
    status = HTTP_STATUS.get(error.code, 500)
    if error.code == "rate_limited":
        headers = {"Retry-After": "1", **(headers or {})}
    body = json.dumps({"error": described}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await _answer(request, handler)


def _guarded(expect: ExpectHandler) -> ExpectHandler:
    """aiohttp runs expect handlers outside the middlewares; give them the same errors, and say go on."""

    async def checked(request: web.Request) -> web.StreamResponse | None:
        refused = await _answer(request, expect)
        if refused is not None:
            refused.force_close()
            return refused
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    return checked


async def _answer(request: web.Request, handler: Callable[[web.Request], Awaitable[R]]) -> R | web.Response:
    try:
        return await handler(request)
    except HippyError as error:
        return error_response(error)
    except web.HTTPException as error:
        kind = TooLargeError if error.status == 413 else ProtocolError
        answer = error_response(kind(f"{error.reason}: {request.method} {request.path[:64]}"))
        answer.set_status(error.status)
        return answer
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("unexpected error while answering %s %s", request.method, request.path[:64])
        return error_response(HippyError("internal error; the node's log has the details"))
