"""The page over HTTP: open to all, made once for whoever asks, and allowed to do nothing but what it needs."""

from __future__ import annotations

import asyncio
import gzip
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from hippy.errors import ProtocolError, TemporaryError
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Answer, Call, Http, Peer, open_http
from hippy.transport.readiness import KEPT_SECONDS
from hippy.transport.server import build_app, serving
from hippy.validator.page.document import asset, document
from hippy.validator.page.routes import PAGE_BYTES_MAX, PageRoutes, script_path
from hippy.wire.status import STATUS_BYTES_MAX, NetworkStatus
from tests.validator.page.reading import elements_of
from tests.validator.page.world import status
from tests.validator.world import HOME, NOW

GZIP = {"Accept-Encoding": "gzip, deflate"}


class Served:
    """A page whose status a test makes; ``gathered`` counts how often it was asked for."""

    def __init__(self, http: Http, clock: VirtualClock) -> None:
        self.status = status()
        self.failures = 0
        self.gathered = 0
        self.clock = clock
        self.peer: Peer | None = None
        self._http = http

    async def gather(self) -> NetworkStatus:
        self.gathered += 1
        if self.failures:
            self.failures -= 1
            raise TemporaryError("the disk cannot be read")
        return self.status

    async def get(self, target: str, headers: dict[str, str] | None = None) -> Answer:
        assert self.peer is not None
        return await self._http.request(
            self.peer, Call("GET", target, headers=headers or {}, answer_bytes_max=PAGE_BYTES_MAX)
        )


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    clock = VirtualClock(float(NOW))
    async with open_http(None, clock) as http:
        served = Served(http, clock)
        routes = PageRoutes(served.gather, clock).routes()
        async with serving(build_app(routes), "127.0.0.1", 0) as endpoint:
            served.peer = Peer(endpoint, HOME.hotkey)
            yield served


async def test_the_status_is_a_message_that_anybody_may_have(served: Served) -> None:
    answer = await served.get("/v1/status")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert NetworkStatus.parse(answer.body, limit=STATUS_BYTES_MAX) == served.status


async def test_the_page_is_the_document_of_the_same_status(served: Served) -> None:
    answer = await served.get("/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.decode() == document(served.status, style=asset("page.css"), script=script_path())


async def test_the_page_may_load_its_own_script_and_style_and_nothing_else(served: Served) -> None:
    answer = await served.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    (style,) = [text for name, _, text in elements_of(answer.body.decode()) if name == "style"]
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data:",
        "style-src": f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("target", ["/", "/v1/status", script_path()])
async def test_nothing_is_taken_for_what_it_is_not(served: Served, target: str) -> None:
    headers = (await served.get(target)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Set-Cookie" not in headers


async def test_the_script_is_where_the_page_says_and_may_be_kept(served: Served) -> None:
    page = (await served.get("/")).body.decode()
    (script,) = [attrs["src"] for name, attrs, _ in elements_of(page) if name == "script"]
    assert script is not None
    answer = await served.get(script)
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.body.decode() == asset("page.js")
    assert sha256(answer.body).hexdigest().startswith(script.partition("?")[2])


async def test_a_status_is_gathered_once_for_all_who_ask_in_a_moment(served: Served) -> None:
    targets = ["/", "/v1/status"] * 10
    answers = await asyncio.gather(*(served.get(target) for target in targets))
    assert len({answer.body for answer in answers}) == 2
    assert served.gathered == 1
    await served.clock.advance(KEPT_SECONDS)
    served.status = status(log_seq=1)
    assert b'"log_seq":1,' in (await served.get("/v1/status")).body
    assert served.gathered == 2


async def test_whoever_takes_gzip_gets_it(served: Served) -> None:
    for target in ("/", "/v1/status"):
        plain, packed = await served.get(target), await served.get(target, GZIP)
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert {plain.headers["Vary"], packed.headers["Vary"]} == {"Accept-Encoding"}
        assert len(packed.body) < len(plain.body) / 2
    refused = await served.get("/", {"Accept-Encoding": "br, gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


async def test_a_status_that_cannot_be_gathered_is_tried_again_by_the_next_who_asks(served: Served) -> None:
    served.failures = 1
    assert (await served.get("/")).status == 503
    assert (await served.get("/")).status == 200


async def test_the_status_takes_no_parameters(served: Served) -> None:
    answer = await served.get("/v1/status?epoch=3")
    assert answer.status == 400
    assert ProtocolError.code.encode() in answer.body
    assert (await served.get("/?from=elsewhere")).status == 200
