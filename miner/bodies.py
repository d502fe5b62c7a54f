"""Piece bytes in from HTTP: bounded in size and time, hashed on the way, never copied twice.

A body comes into a buffer of exactly the promised length while its leaves are hashed, chunk by chunk in the
event loop: aiohttp hands out at most some hundred KiB at once, 0.3 ms of BLAKE3. How pieces go out is
hippy.transport.sending's.
"""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader

from hippy.errors import DeadlineError, ProtocolError
from hippy.proofs.tree import TreeBuilder
from hippy.transport import limits


async def receive(content: StreamReader, length: int) -> tuple[bytearray, list[bytes]]:
    """Return the body, which must have exactly ``length`` bytes, and its leaf hashes.

    Raises ProtocolError when it is longer or shorter, DeadlineError when it stalls or is slower than
    hippy.transport.limits allows.
    """
    buffer = bytearray(length)
    try:
        async with asyncio.timeout(limits.deadline_seconds(length)):
            return buffer, await _fill(buffer, content)
    except TimeoutError:
        buffer.clear()
        raise DeadlineError("the piece did not arrive in time") from None
    except BaseException:
        buffer.clear()  # aiohttp keeps the error of a broken request, and our frames by it, until cycles are collected
        raise


async def _fill(buffer: bytearray, content: StreamReader) -> list[bytes]:
    tree, filled, length = TreeBuilder(), 0, len(buffer)
    while chunk := await _next(content):
        end = filled + len(chunk)
        if end > length:
            raise ProtocolError(f"the body is longer than the piece, {length} bytes")
        buffer[filled:end] = chunk
        tree.update(chunk)
        filled = end
    if filled != length:
        raise ProtocolError(f"the body ended after {filled} of {length} bytes")
    return tree.finish()


async def _next(content: StreamReader) -> bytes:
    async with asyncio.timeout(limits.STALL_SECONDS):
        return await content.readany()
