"""Deadlines and caps of a server's connections, over real sockets with short deadlines."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from time import monotonic

import pytest
import uvloop
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.transport import connections, limits
from hippy.transport.connections import Traffic
from hippy.transport.limits import Rate, ServerLimits
from hippy.transport.server import Route, build_app, read_body, serving
from tests.transport.streams import Line, get, line

SHORT = ServerLimits(silent_seconds=0.15, head_seconds=0.15, linger_seconds=0.15, look_seconds=0.02)
PATIENT = ServerLimits(look_seconds=0.02)
REMOTE = replace(PATIENT, loopback_has_budgets=True)
NEVER_IN_TIME = 5.0


class Handlers:
    """The routes of these tests, and how often they were reached."""

    def __init__(self) -> None:
        self.reached = 0
        self.go_on = asyncio.Event()

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/x", self.plain),
            Route("POST", "/v1/x", self.echo, body_bytes_max=100_000),
            Route("POST", "/v1/signed", self.echo, signed=True),
            Route("GET", "/v1/slow", self.slow),
            Route("GET", "/v1/long", self.long),
        ]

    async def plain(self, _: web.Request) -> web.StreamResponse:
        self.reached += 1
        return web.Response(body=b"here")

    async def echo(self, request: web.Request) -> web.StreamResponse:
        self.reached += 1
        return web.Response(body=await read_body(request, 100_000))

    async def slow(self, _: web.Request) -> web.StreamResponse:
        await self.go_on.wait()
        return web.Response(body=b"at last")

    async def long(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(16 * 1024 * 1024))


@asynccontextmanager
async def server(
    allowed: ServerLimits = SHORT, handlers: Handlers | None = None, traffic: Traffic | None = None
) -> AsyncIterator[Endpoint]:
    app = build_app((handlers or Handlers()).routes())
    async with serving(app, "127.0.0.1", 0, allowed=allowed, traffic=traffic) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _quick_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)


class TestDeadlines:
    @pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def test_a_connection_that_says_nothing_is_closed_without_a_word(
        self, loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def check() -> None:
            traffic = Traffic()
            async with server(traffic=traffic) as endpoint, line(endpoint) as silent:
                assert await silent.ended() == b""
            assert (traffic.connections, traffic.cut, traffic.failures) == (1, 1, 0)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(check())

    async def test_half_a_head_is_408(self) -> None:
        async with server() as endpoint, line(endpoint) as stranger:
            stranger.say(b"GET /v1/x HTTP/1.1\r\nHost:")
            assert await stranger.code() == (408, "timeout")
            assert await stranger.ended() == b""

    async def test_a_head_that_trickles_has_no_more_time_than_one_that_stands_still(self) -> None:
        async with server() as endpoint, line(endpoint) as stranger:
            began = monotonic()
            stranger.say(b"GET /v1/x HTTP/1.1\r\n")
            heard = asyncio.ensure_future(stranger.code())
            while not heard.done() and monotonic() - began < NEVER_IN_TIME:
                stranger.say(b"X: y\r\n")
                await asyncio.sleep(0.02)
            assert await heard == (408, "timeout")
            assert monotonic() - began < NEVER_IN_TIME

    async def test_half_a_head_behind_a_whole_request_has_its_deadline_too(self) -> None:
        async with server() as endpoint, line(endpoint) as stranger:
            stranger.say(get())
            assert (await stranger.hear())[2] == b"here"
            stranger.say(b"GET /v1/x HTTP/1.1\r\n")
            assert await stranger.code() == (408, "timeout")

    async def test_a_kept_connection_outlives_the_deadlines_of_a_new_one(self) -> None:
        async with server() as endpoint, line(endpoint) as client:
            for _ in range(3):
                client.say(get())
                assert (await client.hear())[2] == b"here"
                await asyncio.sleep(SHORT.silent_seconds + 5 * SHORT.look_seconds)

    async def test_a_handler_that_takes_its_time_is_not_cut(self) -> None:
        handlers = Handlers()
        async with server(handlers=handlers) as endpoint, line(endpoint) as client:
            client.say(get("/v1/slow"))
            await asyncio.sleep(3 * SHORT.head_seconds)
            handlers.go_on.set()
            assert (await client.hear())[2] == b"at last"

    async def test_a_reader_that_takes_nothing_of_a_long_answer_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "KEEPALIVE_SECONDS", 0.05)
        monkeypatch.setattr(connections, "KEEPALIVE_MARGIN_SECONDS", 0.05)
        monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.05)
        monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", 2**30)
        traffic = Traffic()
        async with server(traffic=traffic) as endpoint, line(endpoint) as reader:
            reader.reader._limit = 1024  # type: ignore[attr-defined]  # so that this side takes little
            reader.say(get("/v1/long"))
            async with asyncio.timeout(NEVER_IN_TIME):
                while not traffic.cut:  # noqa: ASYNC110 - the server's own timer
                    await asyncio.sleep(0.02)
            assert len(await reader.ended()) < 16 * 1024 * 1024

    async def test_a_body_that_comes_too_slowly_is_408(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.2)
        async with server() as endpoint, line(endpoint) as stranger:
            stranger.say(get(method="POST")[:-2] + b"Content-Length: 90000\r\n\r\n")
            heard = asyncio.ensure_future(stranger.code())
            began = monotonic()
            while not heard.done() and monotonic() - began < NEVER_IN_TIME:
                stranger.say(b"x")
                await asyncio.sleep(0.02)
            assert await heard == (408, "timeout")

    async def test_a_body_of_unknown_length_that_stalls_waits_no_longer_than_a_short_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.1)
        monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", 1000)  # its limit would be 100 s
        async with server() as endpoint, line(endpoint) as stranger:
            stranger.say(get("/v1/x", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n")
            assert await stranger.code() == (408, "timeout")

    async def test_a_body_that_keeps_to_the_rate_is_read_however_long_it_takes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.2)
        monkeypatch.setattr(limits, "SLOWEST_BYTES_PER_SECOND", 10_000)
        async with server() as endpoint, line(endpoint) as client:
            client.say(get(method="POST")[:-2] + b"Content-Length: 6000\r\n\r\n")
            for _ in range(6):
                await asyncio.sleep(0.08)
                client.say(bytes(1000))
            assert (await client.hear())[0] == 200

    async def test_the_rest_of_a_body_that_nobody_reads_ends_with_the_connection(self) -> None:
        async with server() as endpoint, line(endpoint) as stranger:
            began = monotonic()
            stranger.say(get()[:-2] + b"Content-Length: 1000\r\n\r\nonly this")
            assert (await stranger.hear())[0] == 200
            assert await stranger.ended() == b""
            assert monotonic() - began < NEVER_IN_TIME

    async def test_a_refused_body_is_not_drained(self) -> None:
        async with server(PATIENT) as endpoint, line(endpoint) as stranger:
            stranger.say(get(method="POST")[:-2] + b"Content-Length: 100001\r\n\r\n")
            assert await stranger.code() == (413, "too_large")
            stranger.say(bytes(limits.LINGER_BYTES_MAX + 1))
            assert await stranger.ended() == b""

    async def test_a_refusal_reaches_a_sender_that_asked_nothing_first(self) -> None:
        """Closing at once would reset the connection, and the sender would never read why."""
        async with server(PATIENT) as endpoint:
            for _ in range(10):
                async with line(endpoint) as client:
                    client.say(get("/v1/signed", method="POST")[:-2] + b"Content-Length: 60000\r\n\r\n" + bytes(1000))
                    await asyncio.sleep(0.005)
                    client.say(bytes(59_000))
                    status, headers, _ = await client.hear()
                    assert (status, headers["connection"]) == (401, "close")
                    assert await client.ended() == b""


class TestHeads:
    """What a head alone shows is refused before any body."""

    REFUSED = (
        (get("/v1/x", "Content-Length: 100001", "Expect: 100-continue", method="POST"), 413, "too_large"),
        (get("/v1/signed", "Content-Length: 90000", "Expect: 100-continue", method="POST"), 401, "auth"),
        (get("/v1/none", "Content-Length: 90000", "Expect: 100-continue", method="POST"), 404, "protocol"),
        (get("/v1/x", "Content-Length: 90000", "Expect: 100-continue", method="PUT"), 405, "protocol"),
        (get("/v1/x", "Content-Length: 90000", "Expect: a miracle", method="POST"), 417, "protocol"),
        (get("/v1/x", "Content-Length: 100001", method="POST"), 413, "too_large"),
        (get("/v1/signed", "Content-Length: 90000", method="POST"), 401, "auth"),
        (get("/v1/none", "Content-Length: 90000", method="POST"), 404, "protocol"),
    )

    @pytest.mark.parametrize(("request_", "status", "code"), REFUSED)
    async def test_it_is_refused_before_the_body(self, request_: bytes, status: int, code: str) -> None:
        handlers = Handlers()
        async with server(replace(PATIENT, linger_seconds=0.1), handlers) as endpoint, line(endpoint) as stranger:
            stranger.say(request_)
            assert await stranger.code() == (status, code)  # and no 100 Continue before it
            assert await stranger.ended() == b""
        assert handlers.reached == 0

    @pytest.mark.parametrize("expects", [True, False])
    async def test_what_fits_is_asked_for(self, expects: bool) -> None:
        asks = ("Expect: 100-continue",) if expects else ()
        async with server(PATIENT) as endpoint, line(endpoint) as client:
            client.say(get("/v1/x", "Content-Length: 90000", *asks, method="POST"))
            if expects:
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.say(bytes(90_000))
            assert (await client.hear())[0] == 200

    @pytest.mark.parametrize("count", [limits.HEADERS_MAX + 1, 2000])
    async def test_too_many_headers_are_400(self, count: int, caplog: pytest.LogCaptureFixture) -> None:
        async with server(PATIENT) as endpoint, line(endpoint) as stranger:
            stranger.say(get("/v1/x", *(f"X-{number}: y" for number in range(count))))
            assert (await stranger.hear())[0] == 400
        assert caplog.text == ""


async def opened(stack: AsyncExitStack, endpoint: Endpoint, count: int, source: str) -> list[Line]:
    return [await stack.enter_async_context(line(endpoint, source=source)) for _ in range(count)]


class TestCaps:
    async def test_connections_of_one_address_above_its_share_are_closed_at_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        allowed, traffic = replace(PATIENT, connections_max=6, connections_per_address_max=2), Traffic()
        with caplog.at_level(logging.DEBUG, "hippy"):
            async with server(allowed, traffic=traffic) as endpoint, AsyncExitStack() as stack:
                lines = await opened(stack, endpoint, 50, "127.0.0.1")  # loopback: half of all
                for refused in lines[3:]:
                    assert await refused.ended() == b""
                async with line(endpoint, source="127.0.0.2") as other:
                    for each in [*lines[:3], other]:
                        each.say(get())
                        assert (await each.hear())[0] == 200
        assert (traffic.refused, traffic.connections) == (47, 4)
        assert caplog.text == ""

    async def test_a_place_that_was_given_back_is_given_again(self) -> None:
        allowed = replace(PATIENT, connections_max=2, connections_per_address_max=1)
        async with server(allowed) as endpoint:
            for _ in range(5):
                async with line(endpoint) as client:
                    client.say(get("/v1/x", "Connection: close"))
                    assert (await client.hear())[0] == 200
                    assert await client.ended() == b""

    async def test_a_full_server_makes_room_for_an_address_that_has_less(self) -> None:
        allowed, traffic = replace(PATIENT, connections_max=4, connections_per_address_max=4), Traffic()
        async with server(allowed, traffic=traffic) as endpoint, AsyncExitStack() as stack:
            lines = await opened(stack, endpoint, 4, "127.0.0.1")
            for _ in range(2):
                other = await stack.enter_async_context(line(endpoint, source="127.0.0.2"))
                other.say(get())
                assert (await other.hear())[0] == 200
            assert await lines[0].ended() == b""
            assert await lines[1].ended() == b""
            third = await stack.enter_async_context(line(endpoint, source="127.0.0.2"))
            assert await third.ended() == b""  # both have two now
        assert (traffic.displaced, traffic.refused) == (2, 1)

    async def test_addresses_with_a_silent_connection_each_keep_nobody_out(self) -> None:
        allowed, traffic = replace(PATIENT, connections_max=4, idle_seconds=0.1), Traffic()
        async with server(allowed, traffic=traffic) as endpoint, AsyncExitStack() as stack:
            strangers = [(await opened(stack, endpoint, 1, f"127.0.9.{number}"))[0] for number in range(1, 5)]
            async with line(endpoint, source="127.0.0.2") as early:
                assert await early.ended() == b""  # all were heard of a moment ago
            await asyncio.sleep(0.3)
            served = await stack.enter_async_context(line(endpoint, source="127.0.0.2"))
            served.say(get())
            assert (await served.hear())[0] == 200
            assert await strangers[0].ended() == b""
            second = await stack.enter_async_context(line(endpoint, source="127.0.0.2"))
            second.say(get())
            assert (await second.hear())[0] == 200
            third = await stack.enter_async_context(line(endpoint, source="127.0.0.2"))
            assert await third.ended() == b""  # it has more than anybody
        assert (traffic.displaced, traffic.refused) == (2, 2)

    async def test_whoever_is_being_answered_is_not_displaced(self) -> None:
        handlers = Handlers()
        allowed = replace(PATIENT, connections_max=2, connections_per_address_max=2, idle_seconds=0.0)
        async with server(allowed, handlers) as endpoint, AsyncExitStack() as stack:
            lines = await opened(stack, endpoint, 2, "127.0.0.1")
            for each in lines:
                each.say(get("/v1/slow"))
                await asyncio.sleep(0.02)
            async with line(endpoint, source="127.0.0.2") as other:
                assert await other.ended() == b""
            handlers.go_on.set()
            for each in lines:
                assert (await each.hear())[2] == b"at last"

    async def test_connections_take_half_of_the_file_descriptors_at_most(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert connections._descriptors_for_connections() == soft // 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        try:
            assert connections._descriptors_for_connections() == 100
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestBudgets:
    async def test_an_address_over_its_budget_is_told_when_to_come_back(self) -> None:
        handlers = Handlers()
        allowed = replace(REMOTE, anonymous=Rate(0.5, 3))
        async with server(allowed, handlers) as endpoint, line(endpoint) as client:
            answers = []
            for _ in range(5):
                client.say(get())
                answers.append(await client.hear())
            assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
            assert answers[-1][1]["retry-after"] == "2"
            assert b'"rate_limited"' in answers[-1][2]
            async with line(endpoint, source="127.0.0.2") as other:
                other.say(get())
                assert (await other.hear())[0] == 200
        assert handlers.reached == 4

    async def test_signed_requests_have_the_larger_budget(self) -> None:
        allowed = replace(REMOTE, anonymous=Rate(0.1, 1), requests=Rate(0.1, 3))
        async with server(allowed) as endpoint, line(endpoint) as client:
            statuses = []
            for headers in (
                (),
                (),
                ("X-Bittensor-Signature: x",),
                ("X-Bittensor-Signature: x",),
                ("X-Bittensor-Signature: x",),
            ):
                client.say(get("/v1/x", *headers))
                statuses.append((await client.hear())[0])
        assert statuses == [200, 429, 200, 200, 429]

    async def test_a_scanner_is_cut_off_from_everything(self) -> None:
        handlers, traffic = Handlers(), Traffic()
        async with server(replace(REMOTE, failures=Rate(0.1, 3)), handlers, traffic) as endpoint:
            async with line(endpoint) as scanner:
                for path in ("/.env", "/wp-login.php", "/v1/none"):
                    scanner.say(get(path))
                    assert (await scanner.hear())[0] == 404
                scanner.say(get())
                status, headers, _ = await scanner.hear()
                assert (status, headers["connection"], headers["retry-after"]) == (429, "close", "10")
                assert await scanner.ended() == b""
            async with line(endpoint) as scanner:
                scanner.say(get())
                assert (await scanner.hear())[0] == 429
        assert (handlers.reached, traffic.failures, traffic.over_budget) == (0, 3, 2)

    async def test_connections_that_never_make_a_request_are_failures(self) -> None:
        allowed = replace(REMOTE, failures=Rate(0.1, 2))
        async with server(allowed) as endpoint:
            for garbage in (b"\x16\x03\x01\r\n\r\n", b"SSH-2.0-x\r\n\r\n"):
                async with line(endpoint) as stranger:
                    stranger.say(garbage)
                    assert (await stranger.hear())[0] == 400
                    assert await stranger.ended() == b""
            async with line(endpoint) as stranger:
                stranger.say(get())
                assert (await stranger.hear())[0] == 429

    async def test_a_refused_body_over_budget_is_not_asked_for(self) -> None:
        allowed = replace(REMOTE, anonymous=Rate(0.1, 1))
        async with server(allowed) as endpoint, line(endpoint) as client:
            client.say(get())
            assert (await client.hear())[0] == 200
            client.say(get("/v1/x", "Content-Length: 90000", "Expect: 100-continue", method="POST"))
            assert await client.code() == (429, "rate_limited")
            assert await client.ended() == b""

    async def test_loopback_has_no_budgets_unless_it_is_given_some(self) -> None:
        allowed = replace(PATIENT, requests=Rate(0.1, 1), anonymous=Rate(0.1, 1), failures=Rate(0.1, 1))
        async with server(allowed) as endpoint, line(endpoint) as client:
            for path, status in (("/v1/none", 404), ("/v1/x", 200)) * 5:
                client.say(get(path))
                assert (await client.hear())[0] == status


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::/64", True),
        ("128.0.0.1", False),
        ("2001:db8::/64", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_its_address(address: str, is_ours: bool) -> None:
    assert connections.is_loopback(address) == is_ours
