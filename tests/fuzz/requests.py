"""Requests as a hostile peer makes them: real routes with bad bodies, good signatures over nonsense, and broken HTTP.

:class:`Requests` makes them endlessly from a seed; :func:`fire` sends them over many connections at once, several on
each before the first answer is waited for, and counts what comes back.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.wire.btauth import SignedRequest, sign_request
from tests.fuzz.mutate import Mutator
from tests.fuzz.parsers import PARSERS

AT_ONCE = 64
"""Requests on one connection, the last of which asks for its end."""

CONNECTIONS = 12
BROKEN_SHARE = 0.02
"""Of all requests: those whose framing is broken have a connection each, and what follows on it would be lost."""

BROKEN_CONNECTIONS = 8
BROKEN_SECONDS = 0.1
"""A connection on which nothing comes for so long waits for bytes that a broken request announced: it is given up."""

ANSWER_SECONDS = 20.0
"""Requests that are not broken are answered; the machine may be busy."""

LONG_BYTES = 60_000
"""A longer request is the last but one of its connection: a refusal may leave its body unread, which ends that."""

PATH_BYTES_MAX = 4_000
PATHS = ("/", "//", "/v1", "/v1/none", "/%00", "/v1/../etc/passwd", "/v1/pieces/", "/v1/hello/")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
HEADERS = (
    *("Content-Encoding: gzip", "Range: bytes=0-", "X: \xff", "Cookie: " + "a=b; " * 1000, "Connection: keep-alive"),
    *("Content-Type: multipart/form-data; boundary=x", "Accept-Encoding: br", "Accept: */*", "X-Forwarded-For: ::1"),
)
BROKEN_PATHS = ("*", "v1", "/" + "a" * 5000, "/" + "a" * 9000, "http://x/v1/hello")
BROKEN_METHODS = ("CONNECT", "get", "G\xe4T", "PRI")
BROKEN_HEADERS = (
    *("Expect: 100-continue", "Expect: x", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked"),
    *("Connection: Upgrade", "Upgrade: websocket", "Connection: Upgrade\r\nUpgrade: h2c", "Connection: close"),
    *("Content-Length: 0", "Content-Length: 99999999999999999999", "Content-Length: -1", "Host:", "X: y\r\n z"),
    "\r\n".join(f"X-{number}: y" for number in range(80)),
)
_LAST = b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_UNPRINTABLE = bytes(byte for byte in range(256) if not 0x20 <= byte < 0x7F)


@dataclass(frozen=True, slots=True)
class Target:
    """A node under fire: its routes with valid samples of their bodies, and who may sign for it."""

    receiver: PublicKey
    signer: Identity
    routes: Sequence[tuple[str, str, Sequence[bytes]]]
    """Method, path and query, samples of the body."""

    now_ns: Callable[[], int]
    headers: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """Samples of the headers that its routes read."""


def samples(*names: str) -> list[bytes]:
    """Return the samples of these parsers."""
    return [sample for parser in PARSERS if parser.name in names for sample in parser.samples]


class Requests:
    """Requests for one target."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._mutator = Mutator(seed)
        self._nonce_ns = 0

    def sound(self) -> bytes:
        """Return a request whatever its content, but framed so that another one may follow on its connection."""
        method, path, body = self._asked()
        if self._random.random() < 0.1:
            method = self._random.choice(METHODS)
        return self._spelled(method, path, body, self._random.choice(HEADERS) if self._random.random() < 0.03 else None)

    def broken(self) -> bytes:
        """Return a request whose framing may be broken: what follows on its connection is lost then."""
        method, path, body = self._asked()
        choice = self._random.randrange(8)
        if choice == 0:
            return self._spelled(self._random.choice(BROKEN_METHODS), path, body)
        if choice == 1:
            return self._spelled(method, self._random.choice(BROKEN_PATHS), body)
        if choice < 5:
            return self._spelled(method, path, body, self._random.choice(BROKEN_HEADERS))
        return self._mutator.mutate([self._spelled(method, path, body)])

    def _asked(self) -> tuple[str, str, bytes]:
        """Return method, path and body, mutated or not."""
        method, path, bodies = self._random.choice(self._target.routes)
        if self._random.random() < 0.15:
            path = self._path(path)
        if not bodies:
            return method, path, b""
        draw = self._mutator.choose if self._random.random() < 0.1 else self._mutator.mutate
        return method, path, draw(bodies)

    def _spelled(self, method: str, path: str, body: bytes, extra: str | None = None) -> bytes:
        headers = ["Host: x", *self._signature(method, path, body), *self._own_headers(method)]
        if extra is not None:
            headers.insert(self._random.randrange(len(headers)), extra)
        if body:
            headers.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((f"{method} {path} HTTP/1.1", *headers, "", ""))
        return head.encode("latin-1", "replace") + body

    def _path(self, path: str) -> str:
        if self._random.random() < 0.3:
            return self._random.choice(PATHS)
        mutated = _line(self._mutator.mutate([path.encode()])).replace(" ", "").lstrip("/")
        return f"/{mutated[:PATH_BYTES_MAX]}"

    def _signature(self, method: str, path: str, body: bytes) -> list[str]:
        chance = self._random.random()
        if chance < 0.35:
            return []
        self._nonce_ns = max(self._nonce_ns + 1, self._target.now_ns())
        request = SignedRequest(method, path, b"" if method == "PUT" else body)
        signed = sign_request(
            self._target.signer,
            request,
            receiver=self._target.receiver,
            now_ns=self._nonce_ns,
        )
        if chance < 0.6:
            name = self._random.choice(list(signed))
            signed[name] = _line(self._mutator.mutate([signed[name].encode()]))
        return [f"{name}: {value}" for name, value in signed.items()]

    def _own_headers(self, method: str) -> list[str]:
        """Return the headers that routes read: theirs are uploads, others get them now and then."""
        if method != "PUT" and self._random.random() < 0.95:
            return []
        draw = self._mutator.mutate if self._random.random() < 0.7 else self._mutator.choose
        return [f"{name}: {_line(draw(known))}" for name, known in self._target.headers.items()]


def _line(raw: bytes) -> str:
    """Return bytes as a header may carry them."""
    return raw[:7_500].translate(None, _UNPRINTABLE).decode("ascii").strip()


@dataclass(slots=True)
class Outcome:
    """What came back."""

    sent: int = 0
    given_up: int = 0
    """Connections that waited for more."""

    statuses: Counter[int] = field(default_factory=Counter)

    def bad(self) -> dict[int, int]:
        """Return the statuses that no request may have: the node's fault, but for "later" and "full"."""
        return {status: count for status, count in self.statuses.items() if status >= 500 and status not in (503, 507)}


async def fire(endpoint: Endpoint, requests: Requests, count: int) -> Outcome:
    """Send ``count`` requests, or a few more, and return what came back."""
    outcome = Outcome()
    broken = 0

    async def shoot() -> None:
        while outcome.sent < count:
            batch: list[bytes] = []
            while len(batch) < AT_ONCE - 1:
                batch.append(requests.sound())
                if len(batch[-1]) > LONG_BYTES:
                    break
            outcome.sent += len(batch) + 1
            await _exchange(endpoint, b"".join((*batch, _LAST)), outcome, ANSWER_SECONDS)

    async def shoot_broken() -> None:
        nonlocal broken
        while broken < count * BROKEN_SHARE:
            broken += 1
            outcome.sent += 1
            await _exchange(endpoint, requests.broken(), outcome, BROKEN_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(shoot())
        for _ in range(BROKEN_CONNECTIONS):
            tasks.create_task(shoot_broken())
    return outcome


async def _exchange(endpoint: Endpoint, data: bytes, outcome: Outcome, wait_seconds: float) -> None:
    """Send bytes on a connection of their own and count the answers until the server hangs up, or nothing comes."""
    received = bytearray()
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    try:
        writer.write(data)
        while True:
            async with asyncio.timeout(wait_seconds):
                chunk = await reader.read(2**18)
            if not chunk:
                break
            received += chunk
    except TimeoutError:
        outcome.given_up += 1
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    outcome.statuses.update(int(status) for status in _STATUS.findall(received))
