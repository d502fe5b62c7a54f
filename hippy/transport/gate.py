"""The gate before a server's routes: what an address may still ask is decided before anything is looked at.

The order of checks of PROTOCOL §1 begins here: budget of the address (:mod:`hippy.transport.budgets`), then the size
that a head announces and whether it is signed at all (:func:`check_head`), then the route, which reads the body, checks
its signature, parses, and asks the disk. A request over budget is answered 429 with Retry-After, and costs no
signature, no lock and no read. Whatever is answered without the body having been read ends the connection.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from hippy.errors import AuthError, RateLimitedError, TooLargeError
from hippy.transport.answers import described, error_response, http_error
from hippy.transport.budgets import Budgets
from hippy.transport.connection import Connection
from hippy.transport.connections import Connections, Traffic
from hippy.wire.btauth import HOTKEY_HEADER, NONCE_HEADER, RECEIVER_HEADER, SIGNATURE_HEADER

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What aiohttp calls with every request whose head it could parse."""

_SIGNED: Final = (SIGNATURE_HEADER, HOTKEY_HEADER, NONCE_HEADER, RECEIVER_HEADER)
_FAULTS: Final = frozenset({400, 401, 405, 408, 413})
"""Statuses that are the peer's fault whatever it asked."""


def check_head(request: web.Request, *, body_bytes_max: int | None, signed: bool) -> None:
    """Refuse what a head alone shows to be refused.

    Raises TooLargeError for an announced body above ``body_bytes_max``, AuthError for a request without the headers of
    a signature where ``signed``.
    """
    announced = request.content_length
    if body_bytes_max is not None and announced is not None and announced > body_bytes_max:
        raise TooLargeError(f"the body has {announced} bytes, the limit is {body_bytes_max}")
    if signed and not all(name in request.headers for name in _SIGNED):
        raise AuthError("the request is not signed")


class Gate:
    """Stands before an application: charges addresses, and tells connections what they are doing."""

    def __init__(
        self,
        app: web.Application,
        answering: Answering,
        connections: Connections,
        budgets: Budgets,
        traffic: Traffic,
    ) -> None:
        self._app = app
        self._answering = answering
        self._connections = connections
        self._budgets = budgets
        self._traffic = traffic

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, or refuse it.

        Raises ConnectionResetError when its connection is lost already.
        """
        assert isinstance(request, web.Request)  # which an application makes
        connection = self._connections.of(request.protocol)
        if connection is None:
            raise ConnectionResetError("the peer hung up")
        connection.begin()
        self._traffic.requests += 1
        answer_bytes = 0
        try:
            response = self._over_budget(request, connection) if connection.has_budgets else None
            if response is None:
                response = await self._answered(request, connection)
            if not request.content.is_eof():
                response.force_close()
            if type(response) is web.Response and isinstance(response.body, bytes):  # one that streams has sent it all
                answer_bytes = len(response.body)
            return response
        finally:
            if request.content.is_eof():
                connection.end(answer_bytes)
            else:
                connection.refuse()

    async def _answered(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Let the application answer, make its errors JSON, and count what is the peer's fault."""
        try:
            if hdrs.EXPECT in request.headers:
                await self._check_path(request)
            response = await self._answering(request)
            is_fault = response.status in _FAULTS
        except web.HTTPException as error:  # there is no such path or method
            response = http_error(request, error)
            is_fault = True
        except Exception as error:  # noqa: BLE001 - the top of a request; what is unexpected is logged
            response = described(request, error)
            is_fault = response.status in _FAULTS or (response.status == 422 and request.method != hdrs.METH_GET)
        if is_fault:
            self._connections.fail(connection)
        return response

    async def _check_path(self, request: web.Request) -> None:
        """Raises what aiohttp has to say of an unknown path; it would tell its sender to go on before it says so."""
        error = (await self._app.router.resolve(request)).http_exception
        if error is not None:
            raise error

    def _over_budget(self, request: web.Request, connection: Connection) -> web.StreamResponse | None:
        """Charge an address for a request; return the refusal where it has nothing left."""
        now, address = self._connections.now(), connection.address
        wait_seconds = self._budgets.admit(address, now, signed=SIGNATURE_HEADER in request.headers)
        if not wait_seconds:
            return None
        self._traffic.over_budget += 1
        is_scanner = self._budgets.is_failing(address, now)
        told = "too many requests that fail" if is_scanner else "too many requests"
        error = RateLimitedError(f"{told} from {address}", hint="slow down; Retry-After says until when")
        response = error_response(error, headers={hdrs.RETRY_AFTER: str(math.ceil(wait_seconds))})
        if is_scanner:
            response.force_close()
        return response
