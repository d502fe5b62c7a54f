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


async def receive_exactly(content: StreamReader, length: int) -> bytes:
    """Return the next ``length`` bytes of a body.

    Raises ProtocolError when it has fewer, DeadlineError when they are slower than hippy.transport.limits allows.
    """
    try:
        async with asyncio.timeout(limits.deadline_seconds(length)):
            return await content.readexactly(length)
    except TimeoutError:
        raise DeadlineError("the body did not arrive in time") from None
    except asyncio.IncompleteReadError as error:
        raise ProtocolError(f"the body ended {length - len(error.partial)} bytes too early") from None


async def throw_away(content: StreamReader, length: int) -> None:
    """Read up to ``length`` bytes more and keep none, so that the sender gets to read an answer to what came before.

    Ends early when they do not come in time.
    """
    try:
        async with asyncio.timeout(limits.deadline_seconds(length)):
            while length > 0 and (chunk := await _next(content)):
                length -= len(chunk)
    except TimeoutError:
        return


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
