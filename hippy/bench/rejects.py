"""What it costs a server to turn a request away: the price of every request that a scanner or a broken client makes.

Each reason is timed on a connection that is kept, and some on one that is opened for it, as a round trip over loopback:
half of the figure is the asking. Beside it in the same rounds stands what aiohttp alone takes to answer 404. The server
runs in a thread of its own, on the event loop that nodes use.

A refusal whose body was not read ends its connection, so the oversized body of the kept connection is a short one that
came with its head, above a limit that is shorter still.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import uvloop
from aiohttp import web

from hippy.bench.measure import Case, Measurement, Pace, RoundTeller, Timer, measure, ratio
from hippy.bench.report import Group, Ratio
from hippy.endpoint import Endpoint
from hippy.hashing import dk
from hippy.identity import Identity
from hippy.transport.limits import Rate, ServerLimits
from hippy.transport.server import Guard, Route, build_app, read_body, serving
from hippy.wire.btauth import SIGNATURE_HEADER, NonceWindow, SignedRequest, sign_request

PLAIN: Final = "404 by aiohttp alone"
BODY: Final = b"seventeen bytes.."
BODY_BYTES_MAX: Final = 16
OLD_SECONDS: Final = 1_800_000_000
"""What the server's clock shows, so that one signature stays fresh."""

WAIT_SECONDS: Final = 5.0
_ANSWER_BYTES: Final = 4096


class _StoppedClock:
    """A clock that always shows the same."""

    def now(self) -> float:
        """Return OLD_SECONDS."""
        return OLD_SECONDS

    async def sleep(self, seconds: float) -> None:
        """Wait for real."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Servers:
    """Where they listen: aiohttp alone, one of ours, and one of ours that has no budget left for loopback."""

    plain: Endpoint
    ours: Endpoint
    spent: Endpoint


def measure_rejects(pace: Pace, *, timer: Timer, telling: RoundTeller | None = None) -> Group:
    """Time refusals.

    Raises IntegrityError when a request is not refused as it should be.
    """
    server, client = Identity.from_seed(dk("bench-server")), Identity.from_seed(dk("bench-client"))
    with _serving(server) as servers, ExitStack() as connections:
        cases = list(_cases(servers, server, client, connections))
        measured = {each.name: each for each in measure(cases, pace, timer=timer, telling=telling)}
    return Group("rejects", {}, tuple(measured.values()), tuple(_ratios(measured)))


def _ratios(measured: dict[str, Measurement]) -> Iterator[Ratio]:
    for name, each in measured.items():
        plain = f"{PLAIN}, {name.rsplit(', ', 1)[1]}"
        if name != plain:
            yield Ratio(name, PLAIN, ratio(measured[plain].seconds, each.seconds))


def _cases(servers: _Servers, server: Identity, client: Identity, connections: ExitStack) -> Iterator[Case]:
    asked = SignedRequest("POST", "/v1/x", BODY)
    other = SignedRequest("POST", "/v1/x", BODY[::-1])  # what is no signature at all would be refused for nothing
    signed, signed_other = (
        sign_request(client, each, receiver=server.public_key, now_ns=OLD_SECONDS * 10**9) for each in (asked, other)
    )
    forged = {**signed, SIGNATURE_HEADER: signed_other[SIGNATURE_HEADER]}
    reasons = (
        (PLAIN, servers.plain, _request("GET", "/v1/none", {}), 404),
        ("unknown path", servers.ours, _request("GET", "/v1/none", {}), 404),
        ("unsigned", servers.ours, _request("POST", "/v1/x", {}, BODY), 401),
        ("oversized", servers.ours, _request("POST", "/v1/short", signed, BODY), 413),
        ("over budget", servers.spent, _request("POST", "/v1/x", signed, BODY), 429),
        ("bad signature", servers.ours, _request("POST", "/v1/x", forged, BODY), 401),
    )
    for name, endpoint, request, status in reasons:
        kept = connections.enter_context(_connected(endpoint))
        yield Case(f"{name}, kept", _asking(kept, request), 0, _is(status))
    for name, endpoint, request, status in reasons:
        yield Case(f"{name}, new", _asking_anew(endpoint, request), 0, _is(status))


def _request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    length = {"Content-Length": str(len(body))} if body else {}
    lines = (f"{name}: {value}" for name, value in {"Host": "bench", **headers, **length}.items())
    return "\r\n".join((f"{method} {path} HTTP/1.1", *lines, "", "")).encode() + body


def _asking(connection: socket.socket, request: bytes) -> Callable[[], bytes]:
    def run() -> bytes:
        connection.sendall(request)
        return connection.recv(_ANSWER_BYTES)  # a refusal is one packet

    return run


def _asking_anew(endpoint: Endpoint, request: bytes) -> Callable[[], bytes]:
    def run() -> bytes:
        with _connected(endpoint) as connection:
            return _asking(connection, request)()

    return run


def _is(status: int) -> Callable[[bytes], bool]:
    return lambda answer: answer.startswith(f"HTTP/1.1 {status} ".encode())


@contextmanager
def _connected(endpoint: Endpoint) -> Iterator[socket.socket]:
    with socket.create_connection((endpoint.host, endpoint.port), timeout=WAIT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


@contextmanager
def _serving(identity: Identity) -> Iterator[_Servers]:
    """Run the servers in a thread for the duration of the block."""
    started: Future[tuple[_Servers, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        spent = ServerLimits(loopback_has_budgets=True, requests=Rate(1e-6, 1))
        over = asyncio.Event()
        async with (
            serving(_app(identity), "127.0.0.1", 0) as ours,
            serving(_app(identity), "127.0.0.1", 0, allowed=spent) as without,
        ):
            runner = web.AppRunner(web.Application(), access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                host, port = runner.addresses[0][:2]
                started.set_result((_Servers(Endpoint(host, port), ours, without), asyncio.get_running_loop(), over))
                await over.wait()
            finally:
                await runner.cleanup()

    def work() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(serve())
            except BaseException as error:
                with suppress(Exception):
                    started.set_exception(error)
                raise

    thread = threading.Thread(target=work, name="bench-server")
    thread.start()
    servers, loop, over = started.result()
    try:
        with _connected(servers.spent) as first:  # what budget there is
            _asking(first, _request("GET", "/v1/none", {}))()
        yield servers
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def _app(identity: Identity) -> web.Application:
    guard = Guard(identity.public_key, _StoppedClock(), NonceWindow())

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, len(BODY))
        guard.sender(request, body)
        return web.Response()

    return build_app(
        [
            Route("POST", "/v1/x", answer, signed=True),
            Route("POST", "/v1/short", answer, signed=True, body_bytes_max=BODY_BYTES_MAX),
        ]
    )
