"""Raw connections to a server of ours: bytes out, answers in, and when it hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hippy.endpoint import Endpoint

WAIT_SECONDS = 10.0
"""Longer than anything here takes; a test that waits for it fails."""


@dataclass(slots=True)
class Line:
    """A connection of a stranger's."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by lower-case name, and body of the next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def code(self) -> tuple[int, str]:
        """Return status and error code of the next answer."""
        status, _, body = await self.hear()
        return status, str(json.loads(body)["error"]["code"])

    async def ended(self) -> bytes:
        """Return what came until the server hung up."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self.reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def line(endpoint: Endpoint, *, source: str = "127.0.0.1") -> AsyncIterator[Line]:
    """Connect from a loopback address."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, local_addr=(source, 0))
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def get(target: str = "/v1/x", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return a request."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *headers, *length, "", "")).encode() + body
