"""Serves the network page, its script, and the status that both show (PROTOCOL §5.6).

``GET /`` and ``GET /v1/status`` are open to all. Both are made of one status, which is gathered at most once in
hippy.transport.readiness.KEPT_SECONDS, and each form of it is made once, whoever asks how often; on their way out
answers are bounded and shared out by address (hippy.transport.outbox).

Invariants: the page loads nothing but its own script, from here, and runs nothing that stands in it; nobody may frame
it.

Example::

    routes = PageRoutes(Gatherer(home, database, chain, directory, auditor, clock).status, clock).routes()
"""

from __future__ import annotations

import asyncio
import gzip
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, assert_never

from aiohttp import hdrs, web

from hippy.clock import Clock
from hippy.errors import ProtocolError
from hippy.transport.outbox import Outbox
from hippy.transport.readiness import Kept
from hippy.transport.server import Route
from hippy.validator.page.document import asset, document
from hippy.wire.status import STATUS_BYTES_MAX, NetworkStatus

if TYPE_CHECKING:
    from typing_extensions import Buffer

PAGE_BYTES_MAX: Final = 4 * STATUS_BYTES_MAX
"""About what a page of MINERS_MAX miners takes."""

OUTBOX_BYTES_MAX: Final = 4 * PAGE_BYTES_MAX
"""Answers on their way out; one address has a quarter, which holds the longest."""

ANSWERS_WAITING_MAX: Final = 64
WAIT_SECONDS: Final = 5.0

GZIP_LEVEL: Final = 6
SCRIPT_SECONDS: Final = 365 * 24 * 3_600
"""Its name changes with its content."""

SCRIPT_DIGITS: Final = 16

NetworkStatusSource = Callable[[], Awaitable[NetworkStatus]]


class Form(Enum):
    """What a status is served as: its content type."""

    PAGE = "text/html; charset=utf-8"
    JSON = "application/json"


class PageRoutes:
    """Answers for one validator."""

    def __init__(self, gather: NetworkStatusSource, clock: Clock) -> None:
        self._gather = gather
        self._answers = Kept(clock, self._gathered)
        self._outbox = Outbox(OUTBOX_BYTES_MAX, "pages", waiting_max=ANSWERS_WAITING_MAX, wait_seconds=WAIT_SECONDS)

    def routes(self) -> list[Route]:
        """Return the routes to serve."""
        return [
            Route("GET", "/", self._page),
            Route("GET", "/v1/status", self._status),
            Route("GET", "/page.js", self._script),
        ]

    async def _gathered(self) -> _Answers:
        return _Answers(await self._gather())

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, Form.PAGE, page_headers())

    async def _status(self, request: web.Request) -> web.StreamResponse:
        if request.query_string:
            raise ProtocolError("there are no parameters here")
        return await self._answer(request, Form.JSON, _PLAIN)

    async def _answer(self, request: web.Request, form: Form, headers: Mapping[str, str]) -> web.StreamResponse:
        packed = _takes_gzip(request)
        body = await (await self._answers.get()).body(form, packed=packed)
        headers = {**headers, hdrs.CONTENT_ENCODING: "gzip"} if packed else headers
        async with self._outbox.place(request.remote, len(body)) as place:
            buffers: list[Buffer] = [body]
            return await place.send(request, buffers, content_type=form.value, headers=headers)

    async def _script(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=asset("page.js").encode(),
            content_type="text/javascript",
            charset="utf-8",
            headers={hdrs.CACHE_CONTROL: f"public, max-age={SCRIPT_SECONDS}, immutable", **_SAFE},
        )


class _Answers:
    """One status in the forms that were asked for."""

    def __init__(self, status: NetworkStatus) -> None:
        self._status = status
        self._made: dict[tuple[Form, bool], bytes] = {}
        self._making = asyncio.Lock()

    async def body(self, form: Form, *, packed: bool) -> bytes:
        """Return the status as it is sent; made in a thread, once."""
        async with self._making:
            if (form, False) not in self._made:
                self._made[form, False] = await asyncio.to_thread(_made, self._status, form)
            if packed and (form, True) not in self._made:
                plain = self._made[form, False]
                self._made[form, True] = await asyncio.to_thread(gzip.compress, plain, GZIP_LEVEL, mtime=0)
            return self._made[form, packed]


def _made(status: NetworkStatus, form: Form) -> bytes:
    match form:
        case Form.PAGE:
            return document(status, style=asset("page.css"), script=script_path()).encode()
        case Form.JSON:
            return status.encode()
        case _:
            assert_never(form)


@cache
def script_path() -> str:
    """Return where the script is, under a name that changes with it."""
    return f"/page.js?{sha256(asset('page.js').encode()).hexdigest()[:SCRIPT_DIGITS]}"


@cache
def page_headers() -> Mapping[str, str]:
    """Return the headers of the page: what it may load, and run, is named and nothing else is allowed."""
    style = b64encode(sha256(asset("page.css").encode()).digest()).decode()
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; "
        f"style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {**_PLAIN, "Content-Security-Policy": policy}


_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PLAIN: Final = {hdrs.CACHE_CONTROL: "public, max-age=1", hdrs.VARY: hdrs.ACCEPT_ENCODING, **_SAFE}


def _takes_gzip(request: web.Request) -> bool:
    """Return whether the asker says that it takes gzip; ``gzip;q=0`` and other refinements get it plain."""
    offered = request.headers.get(hdrs.ACCEPT_ENCODING, "")
    return "gzip" in {each.strip().lower() for each in offered.split(",")}
