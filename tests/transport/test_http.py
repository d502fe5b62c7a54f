"""Client and server over real sockets: limits, deadlines and errors hold against whoever is on the other end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from hippy.clock import Clock, SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import (
    HTTP_STATUS,
    AuthError,
    ConfigError,
    ConflictError,
    DeadlineError,
    HippyError,
    IntegrityError,
    NoSpaceError,
    NotFoundError,
    NotHomeError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    TemporaryError,
    TooLargeError,
    UnreachableError,
    UsageError,
)
from hippy.identity import Identity
from hippy.testing.clock import VirtualClock
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.server import (
    Guard,
    Handler,
    Route,
    build_app,
    error_response,
    message_response,
    read_body,
    serving,
)
from hippy.wire.btauth import NonceWindow
from hippy.wire.node import AccountStatus

CLIENT, SERVER = Identity.from_seed(b"c" * 32), Identity.from_seed(b"s" * 32)
STATUS = AccountStatus(
    account=CLIENT.public_key, pay_class="paid", quota_bytes=2, used_bytes=1, home=CLIENT.public_key, term=1
)
LARGE = limits.EXPECT_BYTES_MIN + 1
SOON_SECONDS = 0.1

WIRE_ERRORS: list[type[HippyError]] = [
    UsageError,
    ProtocolError,
    AuthError,
    QuotaError,
    NotFoundError,
    NotHomeError,
    DeadlineError,
    ConflictError,
    TooLargeError,
    IntegrityError,
    RateLimitedError,
    HippyError,
    TemporaryError,
    NoSpaceError,
    ConfigError,
    UnreachableError,
]


@pytest.fixture(autouse=True)
def _quick_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers of these tests leave requests unfinished on purpose; nobody waits for them."""
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with open_http(CLIENT, VirtualClock()) as http:
        yield http


@asynccontextmanager
async def node(*routes: Route) -> AsyncIterator[Peer]:
    """Serve routes as SERVER."""
    async with serving(build_app(routes), "127.0.0.1", 0) as endpoint:
        yield Peer(endpoint, SERVER.public_key)


def answering(handler: Handler, method: str = "GET") -> Route:
    return Route(method, "/v1/x", handler)


def raising(error: Exception) -> Route:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise error

    return answering(handler)


GET = Call("GET", "/v1/x")


@asynccontextmanager
async def stranger(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Peer]:
    """A peer that does what it likes with the connection once a request's head has arrived."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Peer(Endpoint("127.0.0.1", port), SERVER.public_key)


def saying(status: str, body: bytes, headers: str = "") -> Callable[..., Awaitable[None]]:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return speak


async def say_raw(peer: Peer, request: bytes) -> tuple[int, bytes]:
    """Send bytes and return the status and body of the answer."""
    reader, writer = await asyncio.open_connection(peer.endpoint.host, peer.endpoint.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), body


class TestErrors:
    def test_every_code_of_the_table_is_tried_here(self) -> None:
        assert {error.code for error in WIRE_ERRORS} == set(HTTP_STATUS)

    @pytest.mark.parametrize("kind", WIRE_ERRORS)
    @pytest.mark.parametrize("hint", [None, 'try "this"'])
    async def test_error_survives_the_wire(self, http: Http, kind: type[HippyError], hint: str | None) -> None:
        async with node(raising(kind("piece ab: it \\ failed", hint=hint))) as peer:
            answer = await http.request(peer, GET)
            assert answer.status == HTTP_STATUS[kind.code]
            assert answer.headers["Content-Type"].startswith("application/json")
            with pytest.raises(kind) as caught:
                await http.bytes(peer, GET)
        assert type(caught.value) is kind
        assert (caught.value.message, caught.value.hint) == ("piece ab: it \\ failed", hint)

    async def test_rate_limited_answer_says_when_to_retry(self, http: Http) -> None:
        async with node(raising(RateLimitedError("slow down"))) as peer:
            assert (await http.request(peer, GET)).headers["Retry-After"] == "1"

    async def test_error_response_keeps_its_headers(self) -> None:
        response = error_response(NoSpaceError("full"), headers={"X-Hippy-Refusal": "{}"})
        assert (response.status, response.headers["X-Hippy-Refusal"]) == (507, "{}")

    @pytest.mark.parametrize(
        ("method", "target", "status"), [("GET", "/v1/y", 404), ("GET", "/", 404), ("POST", "/v1/x", 405)]
    )
    async def test_unknown_path_or_method_is_a_json_error(
        self, http: Http, method: str, target: str, status: int
    ) -> None:
        async with node(raising(UsageError("never reached"))) as peer:
            answer = await http.request(peer, Call(method, target))
            assert answer.status == status
            assert json.loads(answer.body)["error"]["code"] == "protocol"
            with pytest.raises(ProtocolError, match=method):
                await http.bytes(peer, Call(method, target))

    async def test_unexpected_error_tells_the_log_and_not_the_peer(
        self, http: Http, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with node(raising(ValueError("secret detail"))) as peer:
            answer = await http.request(peer, GET)
        assert answer.status == 500
        assert json.loads(answer.body)["error"]["code"] == "internal"
        assert b"secret" not in answer.body
        assert b"ValueError" not in answer.body
        assert "secret detail" in caplog.text

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>no</html>",
            b"null",
            b"[]",
            b'"x"',
            b"{}",
            b'{"error":null}',
            b'{"error":"x"}',
            b'{"error":[]}',
            b'{"error":{}}',
            b'{"error":{"code":"auth"}}',
            b"\xff\xfe",
            b"[" * 60_000,
            b'{"error":' * 6_000,
            b'{"error":{"code":1' + b"0" * 5_000 + b',"message":""}}',
        ],
    )
    async def test_error_without_an_explanation_is_a_protocol_error(self, http: Http, body: bytes) -> None:
        async with stranger(saying("500 X", body)) as peer:
            with pytest.raises(ProtocolError, match="HTTP 500 without saying why"):
                await http.bytes(peer, GET)

    async def test_what_a_peer_says_is_made_printable_and_short(self, http: Http) -> None:
        told = {"code": "auth", "message": "\x1b[2Jno\r\n\u202e" + "x" * 9_000, "hint": "\x07\ud800"}
        async with stranger(saying("401 X", json.dumps({"error": told}).encode())) as peer:
            with pytest.raises(AuthError) as caught:
                await http.bytes(peer, GET)
        assert caught.value.message.startswith("?[2Jno???x")
        assert len(caught.value.message) == limits.ERROR_TEXT_MAX
        assert caught.value.hint == "??"

    @pytest.mark.parametrize("code", ["", "nonsense", "HippyError", 7, None, ["auth"], {"a": 1}])
    async def test_unknown_code_is_a_plain_error(self, http: Http, code: object) -> None:
        body = json.dumps({"error": {"code": code, "message": "m", "hint": 5}}).encode()
        async with stranger(saying("418 X", body)) as peer:
            with pytest.raises(HippyError) as caught:
                await http.bytes(peer, GET)
        assert type(caught.value) is HippyError
        assert (caught.value.message, caught.value.hint) == ("m", "5")

    async def test_huge_error_is_not_read(self, http: Http) -> None:
        async with stranger(saying("500 X", b"x" * (limits.ERROR_BYTES_MAX + 1))) as peer:
            with pytest.raises(TooLargeError):
                await http.bytes(peer, GET)


class TestAnswers:
    async def test_message_arrives(self, http: Http) -> None:
        async def handler(_: web.Request) -> web.StreamResponse:
            return message_response(STATUS)

        async with node(answering(handler)) as peer:
            assert await http.message(peer, GET, AccountStatus) == STATUS

    async def test_answer_that_is_no_message_is_a_protocol_error(self, http: Http) -> None:
        async with stranger(saying("200 OK", b'{"a":1}')) as peer:
            with pytest.raises(ProtocolError):
                await http.message(peer, GET, AccountStatus)

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_answer_above_its_limit_is_refused(self, http: Http, chunked: bool) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            if not chunked:
                response.content_length = 101
            await response.prepare(request)
            await response.write(b"x" * 101)
            return response

        async with node(answering(handler)) as peer:
            assert len(await http.bytes(peer, Call("GET", "/v1/x", answer_bytes_max=101))) == 101
            with pytest.raises(TooLargeError):
                await http.bytes(peer, Call("GET", "/v1/x", answer_bytes_max=100))

    async def test_redirect_is_neither_followed_nor_a_success(self, http: Http) -> None:
        reached = []

        async def target(_: web.Request) -> web.StreamResponse:
            reached.append("target")
            return web.Response(body=b"target")

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": "/v1/target"})

        async with node(answering(redirect), Route("GET", "/v1/target", target)) as peer:
            with pytest.raises(ProtocolError, match="HTTP 302"):
                await http.bytes(peer, GET)
        assert reached == []

    async def test_compressed_answer_is_not_unpacked(self, http: Http) -> None:
        async with stranger(saying("200 OK", b"as sent", "Content-Encoding: gzip\r\n")) as peer:
            assert await http.bytes(peer, GET) == b"as sent"

    async def test_closed_port_is_unreachable(self, http: Http) -> None:
        async with node() as peer:
            pass
        with pytest.raises(UnreachableError, match=str(peer.endpoint)):
            await http.bytes(peer, GET)

    async def test_peer_that_takes_no_connection_in_time_is_unreachable(self) -> None:
        class Deaf(aiohttp.TCPConnector):
            async def connect(self, *_: object, **__: object) -> object:  # type: ignore[override]
                raise aiohttp.ConnectionTimeoutError("on purpose")

        async with aiohttp.ClientSession(connector=Deaf()) as session:
            with pytest.raises(UnreachableError, match="no connection"):
                await Http(session, None, VirtualClock()).bytes(Peer(Endpoint("127.0.0.1", 9), SERVER.public_key), GET)

    async def test_peer_that_hangs_up_is_unreachable(self, http: Http) -> None:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

        async with stranger(hang_up) as peer:
            with pytest.raises(UnreachableError):
                await http.bytes(peer, GET)

    async def test_peer_that_speaks_no_http_is_a_protocol_error(self, http: Http) -> None:
        async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

        async with stranger(mumble) as peer:
            with pytest.raises(ProtocolError, match="bad HTTP"):
                await http.bytes(peer, GET)

    async def test_silent_peer_runs_into_the_deadline(self, http: Http) -> None:
        async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with stranger(silence) as peer:
            with pytest.raises(DeadlineError, match="did not finish GET /v1/x"):
                await http.bytes(peer, Call("GET", "/v1/x?secret=1", deadline_seconds=SOON_SECONDS))

    async def test_peer_that_trickles_runs_into_the_deadline(self, http: Http) -> None:
        async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(SOON_SECONDS / 10)

        async with stranger(trickle) as peer:
            call = Call("GET", "/v1/x", answer_bytes_max=2**20, deadline_seconds=SOON_SECONDS)
            with pytest.raises(DeadlineError):
                await http.bytes(peer, call)


class TestBodies:
    @staticmethod
    def echo(limit: int) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(body=await read_body(request, limit))

        return handler

    @pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, 4 * 1024 * 1024])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    async def test_body_arrives_as_it_was_sent(
        self, http: Http, size: int, kind: Callable[[bytes], bytes | bytearray | memoryview]
    ) -> None:
        body = bytes(range(251)) * (size // 251) + bytes(size % 251)
        async with node(answering(self.echo(size), "PUT")) as peer:
            call = Call("PUT", "/v1/x", body=kind(body), answer_bytes_max=size)
            assert await http.bytes(peer, call) == body

    async def test_body_above_the_limit_is_refused_by_its_announced_length(self, http: Http) -> None:
        async with node(answering(self.echo(100), "PUT")) as peer:
            assert await http.bytes(peer, Call("PUT", "/v1/x", body=bytes(100))) == bytes(100)
            with pytest.raises(TooLargeError, match="the body has 101 bytes, the limit is 100"):
                await http.bytes(peer, Call("PUT", "/v1/x", body=bytes(101)))
            head = b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n"
            assert (await say_raw(peer, head))[0] == 413

    async def test_body_of_unannounced_length_is_refused_at_the_limit(self) -> None:
        async with node(answering(self.echo(100), "PUT")) as peer:
            head = b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await say_raw(peer, head + b"64\r\n" + bytes(100) + b"\r\n0\r\n\r\n"))[0] == 200
            status, answer = await say_raw(peer, head + b"65\r\n" + bytes(101) + b"\r\n")
            assert (status, json.loads(answer)["error"]["code"]) == (413, "too_large")

    async def test_body_that_stalls_is_a_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "BASE_DEADLINE_SECONDS", 0.05)
        async with node(answering(self.echo(100), "PUT")) as peer:
            head = b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
            status, answer = await say_raw(peer, head)
        assert (status, json.loads(answer)["error"]["code"]) == (408, "timeout")

    async def test_body_is_taken_as_sent_and_never_unpacked(self) -> None:
        async with node(answering(self.echo(100), "PUT")) as peer:
            head = b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n"
            assert await say_raw(peer, head + b"plain") == (200, b"plain")

    @pytest.mark.parametrize(
        "request_",
        [
            b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"\x16\x03\x01\r\n\r\n",
        ],
    )
    async def test_malformed_request_is_the_peers_fault(
        self, request_: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR):
            async with node(answering(self.echo(100), "PUT")) as peer:
                status, _ = await say_raw(peer, request_)
        assert 400 <= status < 500
        assert caplog.text == ""

    async def test_broken_frame_in_the_middle_of_a_body_is_the_peers_fault(self) -> None:
        """The parser in C lets such a body run into its deadline; the one in Python says so at once."""
        payload = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
        payload.set_exception(web.RequestPayloadError("bad chunk"))
        with pytest.raises(ProtocolError, match="not framed as HTTP has it"):
            await read_body(make_mocked_request("PUT", "/v1/x", payload=payload), 100)

    async def test_sender_that_goes_away_leaves_no_word_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            started.set()
            try:
                return web.Response(body=await read_body(request, 100))
            finally:
                ended.set()

        async with node(answering(handler, "PUT")) as peer:
            _, writer = await asyncio.open_connection(peer.endpoint.host, peer.endpoint.port)
            writer.write(b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
            await started.wait()
            writer.close()
            async with asyncio.timeout(5):
                await ended.wait()
        assert caplog.text == ""


class TestOwnBuffer:
    """Once a request is over, its buffer is the caller's again: what is in it then is never sent."""

    @pytest.mark.parametrize("answers_early", [True, False], ids=["early answer", "silence"])
    @pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def test_nothing_is_read_from_the_buffer_after_the_request(
        self, loop: Callable[[], asyncio.AbstractEventLoop], answers_early: bool
    ) -> None:
        received = bytearray()
        over, gone = asyncio.Event(), asyncio.Event()

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if answers_early:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await over.wait()
            while chunk := await reader.read(65536):
                received.extend(chunk)
            gone.set()

        async def check() -> None:
            buffer = bytearray(b"E" * 8 * 1024 * 1024)
            async with open_http(CLIENT, SystemClock()) as http, stranger(speak) as peer:
                call = Call("PUT", "/v1/x", buffer, body_signed=False, deadline_seconds=0.5)
                with suppress(DeadlineError):
                    await http.request(peer, call)
                buffer[:] = b"P" * len(buffer)
                over.set()
                await asyncio.wait_for(gone.wait(), 5)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(check())
        assert b"P" not in received


class TestExpect:
    """A refused large body is never sent."""

    @staticmethod
    def route(expect_error: HippyError | None, reached: list[int]) -> Route:
        async def expect(_: web.Request) -> web.StreamResponse | None:
            if expect_error:
                raise expect_error
            return None

        async def handler(request: web.Request) -> web.StreamResponse:
            reached.append(len(await read_body(request, 8 * LARGE)))
            return web.Response()

        return Route("PUT", "/v1/x", handler, expect)

    async def test_large_body_is_sent_when_the_server_says_go_on(self, http: Http) -> None:
        reached: list[int] = []
        async with node(self.route(None, reached)) as peer:
            await http.bytes(peer, Call("PUT", "/v1/x", body=bytes(8 * LARGE)))
        assert reached == [8 * LARGE]

    @pytest.mark.parametrize("error", [NoSpaceError("the disk is full"), AuthError("no", hint="log in")])
    async def test_refusal_arrives_before_the_body_is_asked_for(self, http: Http, error: HippyError) -> None:
        reached: list[int] = []
        async with node(self.route(error, reached)) as peer:
            with pytest.raises(type(error), match=error.message):
                await http.bytes(peer, Call("PUT", "/v1/x", body=bytes(8 * LARGE)))
        assert reached == []

    async def test_refused_body_leaves_not_one_byte(self, http: Http) -> None:
        sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            body = json.dumps({"error": {"code": "no_space", "message": "full"}}).encode()
            head = f"HTTP/1.1 507 X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            sent.set_result(len(await reader.read()))

        async with stranger(refuse) as peer:
            with pytest.raises(NoSpaceError):
                await http.bytes(peer, Call("PUT", "/v1/x", body=bytes(8 * LARGE)))
            assert await asyncio.wait_for(sent, 5) == 0

    async def test_refusal_never_says_go_on_and_ends_the_connection(self) -> None:
        async with node(self.route(NoSpaceError("full"), [])) as peer:
            reader, writer = await asyncio.open_connection(peer.endpoint.host, peer.endpoint.port)
            writer.write(b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n")
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
        assert head.startswith(b"HTTP/1.1 507 ")
        assert b"Connection: close" in head

    async def test_unexpected_error_in_the_check_is_internal(
        self, http: Http, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def expect(_: web.Request) -> web.StreamResponse | None:
            raise ValueError("secret detail")

        async with node(Route("PUT", "/v1/x", TestBodies.echo(1), expect)) as peer:
            answer = await http.request(peer, Call("PUT", "/v1/x", body=bytes(LARGE)))
        assert (answer.status, b"secret" in answer.body) == (500, False)
        assert "secret detail" in caplog.text


class TestSignatures:
    @staticmethod
    def whoami(clock: Clock, *, signed_body: bool = True) -> Sequence[Route]:
        guard = Guard(SERVER.public_key, clock, NonceWindow())

        async def handler(request: web.Request) -> web.StreamResponse:
            body = await read_body(request, 1000)
            return web.Response(body=guard.sender(request, body if signed_body else b""))

        return [Route(method, "/v1/{name}", handler) for method in ("GET", "PUT", "POST")]

    @pytest.mark.parametrize("target", ["/v1/x", "/v1/x?offset=1&length=2", "/v1/x%20y?z=%C3%A9+a", "/v1/x?a=b?c"])
    async def test_sender_is_known_whatever_the_target(self, target: str) -> None:
        clock = VirtualClock()
        async with open_http(CLIENT, clock) as http, node(*self.whoami(clock)) as peer:
            for call in (Call("GET", target), Call("POST", target, body=b"x"), Call("POST", target)):
                assert await http.bytes(peer, call) == CLIENT.public_key

    async def test_unsigned_request_is_refused(self) -> None:
        async with open_http(None, VirtualClock()) as http, node(*self.whoami(VirtualClock())) as peer:
            with pytest.raises(AuthError, match="not signed"):
                await http.bytes(peer, GET)

    async def test_body_outside_the_signature_is_accepted_where_the_protocol_says_so(self) -> None:
        clock = VirtualClock()
        call = Call("PUT", "/v1/x", body=b"piece", body_signed=False)
        async with open_http(CLIENT, clock) as http:
            async with node(*self.whoami(clock, signed_body=False)) as peer:
                assert await http.bytes(peer, call) == CLIENT.public_key
            async with node(*self.whoami(clock)) as peer:
                with pytest.raises(AuthError):
                    await http.bytes(peer, call)

    async def test_requests_of_one_instant_have_nonces_of_their_own(self) -> None:
        clock = VirtualClock()
        async with open_http(CLIENT, clock) as http, node(*self.whoami(clock)) as peer:
            senders = await asyncio.gather(*(http.bytes(peer, GET) for _ in range(20)))
        assert set(senders) == {CLIENT.public_key}

    async def test_request_for_another_hotkey_is_refused(self) -> None:
        clock = VirtualClock()
        async with open_http(CLIENT, clock) as http, node(*self.whoami(clock)) as peer:
            with pytest.raises(AuthError, match="another receiver"):
                await http.bytes(Peer(peer.endpoint, CLIENT.public_key), GET)

    @pytest.mark.parametrize("target", [b"/v1/\xc3\xa9", b"/v1/\xff", b"/v1/x?\xff=1", b"http://other/v1/x", b"*"])
    async def test_strange_target_is_refused_politely(self, target: bytes, caplog: pytest.LogCaptureFixture) -> None:
        headers = (
            f"X-Bittensor-Version: 1\r\nX-Bittensor-Hotkey: {CLIENT.ss58}\r\nX-Bittensor-Receiver: {SERVER.ss58}\r\n"
        )
        nonce = int(VirtualClock().now()) * 10**9
        headers += f"X-Bittensor-Nonce: {nonce}\r\nX-Bittensor-Signature: 0x{'ab' * 64}\r\n"
        with caplog.at_level(logging.ERROR):
            async with node(*self.whoami(VirtualClock())) as peer:
                status, _ = await say_raw(
                    peer, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + headers.encode() + b"\r\n"
                )
        assert 400 <= status < 500
        assert caplog.text == ""


async def test_taken_port_is_a_config_error() -> None:
    async with serving(build_app([]), "127.0.0.1", 0) as endpoint:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {endpoint.port}"):
            async with serving(build_app([]), "127.0.0.1", endpoint.port):
                pass


def test_deadline_grows_with_the_bytes() -> None:
    assert limits.deadline_seconds(0) == 20.0
    assert limits.deadline_seconds(4 * 1024 * 1024) == 52.0
