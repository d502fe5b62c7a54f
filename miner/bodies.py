"""Piece bytes in and out of HTTP: bounded in size and time, hashed on the way in, never copied twice.

A body comes into a buffer of exactly the promised length while its leaves are hashed, chunk by chunk in the
event loop: aiohttp hands out at most some hundred KiB at once, 0.3 ms of BLAKE3. An answer goes out slice by
slice, so that a slow reader holds one slice in the transport and is cut off at the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import StreamReader, web

from hippy.errors import DeadlineError, ProtocolError
from hippy.proofs.tree import TreeBuilder
from hippy.transport import limits

if TYPE_CHECKING:
    from typing_extensions import Buffer

SLICE_BYTES: Final = 256 * 1024


async def receive(content: StreamReader, length: int) -> tuple[bytearray, list[bytes]]:
    """Return the body, which must have exactly ``length`` bytes, and its leaf hashes.

    Raises ProtocolError when it is longer or shorter, DeadlineError when it stalls or is slower than
    hippy.transport.limits allows.
    """
    try:
        async with asyncio.timeout(limits.deadline_seconds(length)):
            return await _receive(content, length)
    except TimeoutError:
        raise DeadlineError("the piece did not arrive in time") from None


async def _receive(content: StreamReader, length: int) -> tuple[bytearray, list[bytes]]:
    buffer, tree, filled = bytearray(length), TreeBuilder(), 0
    while chunk := await _next(content):
        end = filled + len(chunk)
        if end > length:
            raise ProtocolError(f"the body is longer than the piece, {length} bytes")
        buffer[filled:end] = chunk
        tree.update(chunk)
        filled = end
    if filled != length:
        raise ProtocolError(f"the body ended after {filled} of {length} bytes")
    return buffer, tree.finish()


async def _next(content: StreamReader) -> bytes:
    async with asyncio.timeout(limits.STALL_SECONDS):
        return await content.readany()


async def send(
    request: web.Request, buffers: Sequence[Buffer], *, deadline_seconds: float | None = None
) -> web.StreamResponse:
    """Answer with ``buffers``, one after the other, and return once the reader's side has taken them.

    A reader slower than ``deadline_seconds``, or hippy.transport.limits, allows is disconnected.
    """
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    total = sum(len(view) for view in views)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = total
    try:
        async with asyncio.timeout(deadline_seconds or limits.deadline_seconds(total)):
            await response.prepare(request)
            for view in views:
                for start in range(0, len(view), SLICE_BYTES):
                    await response.write(view[start : start + SLICE_BYTES])
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader is too slow") from None
    return response
