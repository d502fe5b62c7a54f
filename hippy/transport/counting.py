"""What a server did, counted: requests by route and status, and the bytes of their bodies.

Counting hooks into the application, not into handlers, so that refusals before the body (in expect handlers) count too.
What never became a request (a half header, a connection over the cap, an address over its budget) is counted where it
is turned away, in hippy.transport.connections.Traffic, whose metrics stand here too.

Labels are bounded: a path that is none of ours is ``other``, whatever it was, and so is its method.

Example::

    counter = RequestCounter()
    counter.count(app)
    counter.samples()
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from aiohttp import web

from hippy.transport.connections import Traffic
from hippy.transport.figures import Metric, Sample

REQUESTS: Final = Metric(
    "hippy_http_requests_total", "counter", "Requests answered, by route and status.", ("method", "route", "status")
)
REJECTIONS: Final = Metric(
    "hippy_http_rejections_total", "counter", "Requests answered with an error, by route.", ("method", "route")
)
BROKEN: Final = Metric(
    "hippy_http_broken_total", "counter", "Answers that began and did not end: the reader hung up or was too slow."
)
BYTES_IN: Final = Metric("hippy_http_received_bytes_total", "counter", "Bytes of request bodies that arrived.")
BYTES_OUT: Final = Metric("hippy_http_sent_bytes_total", "counter", "Bytes of answers that were sent whole.")

CONNECTIONS: Final = Metric("hippy_http_connections_total", "counter", "Connections accepted.")
CLOSED: Final = Metric(
    "hippy_http_connections_closed_total",
    "counter",
    "Connections closed by us: refused for a cap, displaced for another address, cut past a deadline.",
    ("reason",),
)
OVER_BUDGET: Final = Metric(
    "hippy_http_over_budget_total", "counter", "Requests answered 429 because their address had used its budget up."
)
FAILURES: Final = Metric(
    "hippy_http_failures_total", "counter", "Requests and connections that count against the budget of failures."
)

METRICS: Final = (REQUESTS, REJECTIONS, BROKEN, BYTES_IN, BYTES_OUT, CONNECTIONS, CLOSED, OVER_BUDGET, FAILURES)

OTHER: Final = "other"


class RequestCounter:
    """Counts of one application."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._broken = 0
        self._bytes_in = 0
        self._bytes_out = 0

    def count(self, app: web.Application) -> None:
        """Count what ``app`` answers from now on; before it is served."""
        app.on_response_prepare.append(self._begun)

    async def _begun(self, request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        route = OTHER if resource is None else resource.canonical
        method = OTHER if resource is None else request.method
        self._requests[method, route, response.status] += 1
        task = asyncio.current_task()
        if task is not None:  # aiohttp has one for each request; it ends when the answer is sent
            task.add_done_callback(partial(self._ended, request, response))

    def _ended(self, request: web.Request, response: web.StreamResponse, task: asyncio.Task[object]) -> None:
        self._bytes_in += request.content.total_bytes
        self._bytes_out += response.body_length
        if task.cancelled() or task.exception() is not None:
            self._broken += 1

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted so far."""
        rejected: Counter[tuple[str, str]] = Counter()
        for (method, route, status), count in sorted(self._requests.items()):
            yield REQUESTS.sample(count, method, route, str(status))
            if status >= 400:
                rejected[method, route] += count
        for (method, route), count in rejected.items():
            yield REJECTIONS.sample(count, method, route)
        yield BROKEN.sample(self._broken)
        yield BYTES_IN.sample(self._bytes_in)
        yield BYTES_OUT.sample(self._bytes_out)


def connection_samples(traffic: Traffic) -> Iterator[Sample]:
    """Yield what a server's connections came to."""
    yield CONNECTIONS.sample(traffic.connections)
    yield CLOSED.sample(traffic.refused, "refused")
    yield CLOSED.sample(traffic.displaced, "displaced")
    yield CLOSED.sample(traffic.cut, "cut")
    yield OVER_BUDGET.sample(traffic.over_budget)
    yield FAILURES.sample(traffic.failures)
