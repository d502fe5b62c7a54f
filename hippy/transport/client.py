"""The calling half: signed requests to one peer, bounded answers, errors as hippy's own.

One :class:`Http` per process holds the connection pool. It follows no redirect, keeps no cookie, resolves no
name (endpoints are numeric), reads no proxy variable, and never reads more than it was told to expect.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import aiohttp
from yarl import URL

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import DeadlineError, HippyError, ProtocolError, TooLargeError, UnreachableError, from_wire
from hippy.identity import Identity, ss58_encode
from hippy.ids import PublicKey
from hippy.transport import limits
from hippy.wire.btauth import SignedRequest, sign_request
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message

if TYPE_CHECKING:
    from typing_extensions import Buffer

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Peer:
    """A node we talk to: where it listens and the hotkey it must prove to own."""

    endpoint: Endpoint
    hotkey: PublicKey

    def __str__(self) -> str:
        return f"{ss58_encode(self.hotkey)[:8]}… at {self.endpoint}"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``body_signed`` is False where the signature covers an empty body (PUT of a piece)."""

    method: str
    target: str
    body: Buffer = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    answer_bytes_max: int = MESSAGE_BYTES_MAX
    body_signed: bool = True
    deadline_seconds: float | None = None
    stall_seconds: float | None = None
    """How long the peer may send nothing, where that is longer than usual: it may have to work for its answer."""
    arrived: Callable[[int], None] | None = None
    """Told how many bytes of the answer's body came, as they come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A peer's answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self) -> HippyError | None:
        """Return the error the peer answered with, or None for a success."""
        return None if 200 <= self.status < 300 else _peer_error(self.status, self.body)


class _Body:
    """A request's body in chunks, begun anew when aiohttp retries.

    Chunks are copies: the transport may hold them longer than the caller leaves its buffer alone. Once the
    request is over no more of the buffer is read, for it may be in use for something else.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._view = memoryview(buffer).cast("B")
        self._over = False
        self.is_sent = len(self._view) == 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._view), limits.CHUNK_BYTES):
            if self._over:
                raise ConnectionAbortedError("the request is over")
            yield bytes(self._view[start : start + limits.CHUNK_BYTES])
        self.is_sent = True

    def end(self) -> None:
        """Let go of the buffer."""
        self._over = True


class Http:
    """The process's HTTP client. ``identity`` None makes unsigned requests only."""

    def __init__(self, session: aiohttp.ClientSession, identity: Identity | None, clock: Clock) -> None:
        self._session = session
        self._identity = identity
        self._clock = clock
        self._last_nonce_ns = 0

    async def request(self, peer: Peer, call: Call) -> Answer:
        """Send one request and return the whole answer, success or not.

        Raises UnreachableError, DeadlineError, TooLargeError, ProtocolError.
        """
        size = memoryview(call.body).nbytes
        total = call.deadline_seconds or limits.deadline_seconds(max(size, call.answer_bytes_max))
        try:
            async with asyncio.timeout(total):
                return await self._exchange(peer, call, size)
        except aiohttp.ConnectionTimeoutError:
            raise UnreachableError(f"no connection to {peer} in {limits.CONNECT_SECONDS:.0f} s") from None
        except aiohttp.SocketTimeoutError:
            raise DeadlineError(f"{peer} sent nothing for {_stall_seconds(call):.0f} s") from None
        except TimeoutError:
            raise DeadlineError(f"{peer} did not finish {call.method} {_short(call)} in {total:.0f} s") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise UnreachableError(f"no answer from {peer}: {_why(error)}") from None
        except aiohttp.ClientError as error:
            raise ProtocolError(f"{peer} answered with bad HTTP: {type(error).__name__}") from None

    async def bytes(self, peer: Peer, call: Call) -> bytes:
        """Send one request and return the body of a successful answer; other answers are raised."""
        answer = await self.request(peer, call)
        error = answer.error()
        if error is not None:
            raise error
        return answer.body

    async def message(self, peer: Peer, call: Call, kind: type[M]) -> M:
        """Send one request and return the message it is answered with."""
        return kind.parse(await self.bytes(peer, call), limit=call.answer_bytes_max)

    async def _exchange(self, peer: Peer, call: Call, size: int) -> Answer:
        length = {"Content-Length": str(size)} if size else {}
        sending = _Body(call.body)
        try:
            async with self._session.request(
                call.method,
                URL(peer.endpoint.url + call.target, encoded=True),
                data=sending if size else None,
                headers={**call.headers, **self._signature(peer, call), **length},
                expect100=size > limits.EXPECT_BYTES_MIN,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits.CONNECT_SECONDS, sock_read=_stall_seconds(call)
                ),
            ) as response:
                limit = call.answer_bytes_max if response.ok else max(call.answer_bytes_max, limits.ERROR_BYTES_MAX)
                body = await _read(response, limit, call.arrived)
                if not sending.is_sent:
                    response.close()  # answered early: what is left of the body is not wanted
                return Answer(response.status, response.headers, body)
        finally:
            sending.end()

    def _signature(self, peer: Peer, call: Call) -> dict[str, str]:
        if self._identity is None:
            return {}
        self._last_nonce_ns = max(self._last_nonce_ns + 1, int(self._clock.now() * 1e9))
        signed = SignedRequest(call.method, call.target, bytes(call.body) if call.body_signed else b"")
        return sign_request(self._identity, signed, receiver=peer.hotkey, now_ns=self._last_nonce_ns)


def _why(error: Exception) -> str:
    """Return in words why a connection failed: the system's, where it says."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "it hung up"
    return type(error).__name__


@asynccontextmanager
async def open_http(identity: Identity | None, clock: Clock, *, source_host: str | None = None) -> AsyncIterator[Http]:
    """Open an HTTP client; ``source_host`` is the address of ours that its connections leave from."""
    connector = aiohttp.TCPConnector(
        limit=limits.CONNECTIONS_MAX,
        limit_per_host=limits.CONNECTIONS_PER_PEER_MAX,
        keepalive_timeout=limits.KEEPALIVE_SECONDS,
        local_addr=(source_host, 0) if source_host else None,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    ) as session:
        yield Http(session, identity, clock)


async def _read(response: aiohttp.ClientResponse, limit: int, arrived: Callable[[int], None] | None) -> bytes:
    if (response.content_length or 0) > limit:
        raise TooLargeError(f"the answer has {response.content_length} bytes, the limit is {limit}")
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"the answer is longer than {limit} bytes")
        if arrived is not None:
            arrived(len(chunk))
        parts.append(chunk)
    return b"".join(parts)


def _peer_error(status: int, body: bytes) -> HippyError:
    """Return the error a peer describes; what it says is bounded and made printable."""
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
        hint = str(told["hint"]) if told.get("hint") else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ProtocolError(f"a peer answered HTTP {status} without saying why")
    return from_wire(code, _clean(message), _clean(hint) if hint else None)


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[: limits.ERROR_TEXT_MAX])


def _stall_seconds(call: Call) -> float:
    return call.stall_seconds or limits.STALL_SECONDS


def _short(call: Call) -> str:
    return call.target.split("?", 1)[0][:64]
