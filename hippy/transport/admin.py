"""The admin port: whether a node lives and is ready, its metrics, and what its operator may change.

It listens on a loopback address and refuses any other. Other users of the machine and their browsers reach it too
(hippy.transport.admin_access), so everything but the two health routes asks for the token in ``data_dir/admin.token``,
which the node makes at its first start and whose mode keeps it the node's user's::

    GET /livez      200 as long as the event loop turns; no token
    GET /readyz     200 when the node can serve, else 503 with the reasons; no token
    GET /metrics    Prometheus's text; Authorization: Bearer TOKEN
    …               what the role adds, behind the token too

The port opens before anything else of the node, so that a slow start looks alive and not ready. What is ready, what is
measured and which routes there are the role says with :meth:`AdminDesk.attach` once it is open.

Invariants: checks and figures are gathered at most once in a while (hippy.transport.readiness), whoever asks how often;
a check that hangs is a reason, not a hang; no answer holds a secret.

Example::

    async with admin_serving(AdminPlace(settings.admin_host, settings.admin_port, settings.data_dir), clock) as admin:
        admin.requests.count(app)
        admin.attach(Attached(checks={"disk": disk_check(data_dir)}, metrics=METRICS, figures=figures))
        admin.announce()
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, NotFoundError, TemporaryError
from hippy.transport.admin_access import check_source, check_token
from hippy.transport.admin_token import admin_token
from hippy.transport.connections import Traffic
from hippy.transport.counting import METRICS as HTTP_METRICS
from hippy.transport.counting import RequestCounter, connection_samples
from hippy.transport.figures import Metric, Sample
from hippy.transport.lag import METRICS as LAG_METRICS
from hippy.transport.lag import LoopLag
from hippy.transport.metrics import CONTENT_TYPE, MetricsPage
from hippy.transport.readiness import Check, Kept, reason_of
from hippy.transport.server import Route, build_app, serving
from hippy.version import __version__

INFO: Final = Metric("hippy_node_info", "gauge", "1; its labels tell which software runs.", ("version",))
READY: Final = Metric("hippy_node_ready", "gauge", "1 when /readyz answers 200, else 0.")
METRICS: Final = (INFO, READY, *LAG_METRICS, *HTTP_METRICS)
"""What every node shows."""

Figures = Callable[[], Awaitable[Iterable[Sample]]]


@dataclass(frozen=True, slots=True)
class AdminPlace:
    """Where the admin port is; ``port`` None is nowhere, 0 a free one. The token is in ``data_dir``."""

    host: str
    port: int | None
    data_dir: Path


async def _nothing() -> Iterable[Sample]:
    return ()


def together(*parts: Figures) -> Figures:
    """Return what gathers the samples of several parts, one after the other."""

    async def samples() -> Iterable[Sample]:
        return [sample for part in parts for sample in await part()]

    return samples


@dataclass(frozen=True, slots=True)
class Attached:
    """What a role shows: checks of readiness by name, its metrics with their samples, and routes with fixed paths."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    figures: Figures = _nothing
    routes: Sequence[Route] = ()


class AdminDesk:
    """Answers for one node; made by :func:`admin_serving`."""

    def __init__(self, clock: Clock) -> None:
        self.requests = RequestCounter()
        """Counts the node's own requests once it was given the application."""

        self.traffic = Traffic()
        """Counts the node's own connections when ``serving`` is given it."""

        self.lag = LoopLag()
        self.endpoint: Endpoint | None = None
        """Where the admin port is; None where there is none."""

        self._attached: Attached | None = None
        self._announced = False
        self._page = MetricsPage()
        self._reasons = Kept(clock, self._check_all)
        self._text = Kept(clock, self._render)

    def attach(self, attached: Attached) -> None:
        """Show what a role has to show; once."""
        assert self._attached is None
        self._attached = attached

    def announce(self) -> None:
        """Note that the endpoint is served and published."""
        self._announced = True
        self._reasons.forget()

    async def reasons(self) -> dict[str, str]:
        """Return what keeps the node from serving, by the check that says so; empty when it is ready."""
        return await self._reasons.get()

    async def page(self) -> bytes:
        """Return all metrics as text."""
        return await self._text.get()

    def route(self, method: str, path: str) -> Route:
        """Return what the role answers on a path.

        Raises NotFoundError where there is nothing, TemporaryError while the node starts.
        """
        if self._attached is None:
            raise TemporaryError("the node is starting", hint="GET /readyz says what it waits for")
        for route in self._attached.routes:
            if (route.method, route.path) == (method, path):
                return route
        raise NotFoundError(f"the admin port has no {method[:16]} {path[:64]}")

    async def _check_all(self) -> dict[str, str]:
        if self._attached is None or not self._announced:
            return {"start": "the node is starting: its endpoint is not published yet"}
        names = list(self._attached.checks)
        found = await asyncio.gather(*(reason_of(check) for check in self._attached.checks.values()))
        return {name: reason for name, reason in zip(names, found, strict=True) if reason is not None}

    async def _render(self) -> bytes:
        samples = [
            INFO.sample(1, __version__),
            READY.sample(not await self.reasons()),
            *self.lag.samples(),
            *self.requests.samples(),
            *connection_samples(self.traffic),
        ]
        metrics = list(METRICS)
        if self._attached is not None:
            metrics += self._attached.metrics
            samples += await self._attached.figures()
        return self._page.render(metrics, samples)


def check_loopback(host: str) -> None:
    """Raises ConfigError for an address that other machines could reach."""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"the admin port may not listen on {host}: it is for this machine alone",
            hint='set admin_host = "127.0.0.1"; from elsewhere use ssh -L, or a monitor on this machine',
        )


@asynccontextmanager
async def admin_serving(place: AdminPlace, clock: Clock) -> AsyncIterator[AdminDesk]:
    """Serve the admin port, if there is one, for the duration of the block.

    Raises ConfigError for an address that is not a loopback one, a port in use and a token that others can read.
    """
    desk = AdminDesk(clock)
    if place.port is None:
        yield desk
        return
    check_loopback(place.host)
    token = await asyncio.to_thread(admin_token, place.data_dir)
    async with AsyncExitStack() as stack:
        try:
            app = build_app(_routes(desk, token))
            desk.endpoint = await stack.enter_async_context(serving(app, place.host, place.port))
        except ConfigError as error:
            hint = "is this node running already? if not, set another admin_port"
            raise ConfigError(f"the admin port: {error.message}", hint=hint) from None
        measuring = asyncio.create_task(desk.lag.run())
        try:
            yield desk
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)


def _routes(desk: AdminDesk, token: str) -> list[Route]:
    async def livez(request: web.Request) -> web.StreamResponse:
        check_source(request)
        return json_response({"alive": True, "lag_seconds": round(desk.lag.seconds, 6)})

    async def readyz(request: web.Request) -> web.StreamResponse:
        check_source(request)
        reasons = await desk.reasons()
        return json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(request: web.Request) -> web.StreamResponse:
        check_token(request, token)
        return web.Response(body=await desk.page(), headers={"Content-Type": CONTENT_TYPE})

    async def other(request: web.Request) -> web.StreamResponse:
        check_token(request, token)
        return await desk.route(request.method, request.path).handler(request)

    return [
        Route("GET", "/livez", livez),
        Route("GET", "/readyz", readyz),
        Route("GET", "/metrics", metrics),
        Route("*", "/{path:.*}", other),
    ]


def json_response(value: Mapping[str, object], *, status: int = 200) -> web.Response:
    """Return a value as JSON."""
    return web.Response(status=status, body=json.dumps(value).encode(), content_type="application/json")
