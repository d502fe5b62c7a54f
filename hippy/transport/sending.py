"""Long answers out of HTTP: slice by slice, never copied whole, and cut off at a deadline.

aiohttp's own ``web.Response(body=…)`` hands a whole body to the transport and forgets it: a reader that takes nothing
then holds all of it, for as long as it likes. :func:`send` gives the transport one slice after the other and returns
once the reader's side has taken them, so a slow reader holds a slice or two there, its answer no longer than the
deadline, and whoever calls knows until when. How many answers may be on their way at once is the caller's to say
(hippy.transport.outbox).

An answer that was given up is gone at once. aiohttp keeps the error of a broken request in a circle of objects until
the collector of cycles comes by, which counts objects and not bytes: a stranger who asks and hangs up would leave
4 MiB each time. So the error that leaves here leads to no frame, of ours or of aiohttp, that holds bytes.

Example::

    async def answer(request: web.Request) -> web.StreamResponse:
        return await send(request, [head, leaves], deadline_seconds=15)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from hippy.transport import limits

if TYPE_CHECKING:
    from typing_extensions import Buffer

SLICE_BYTES: Final = 64 * 1024
"""The transport's high-water mark: it never holds two slices for a reader that has not taken the one before. Small, so
that a reader at 128 KiB/s is seen to take something twice a second; 4 MiB take as long as in slices of 256 KiB."""


async def send(
    request: web.Request,
    buffers: list[Buffer],
    *,
    deadline_seconds: float | None = None,
    content_type: str = "application/octet-stream",
    headers: Mapping[str, str] | None = None,
    taken: Callable[[int], None] = lambda _: None,
) -> web.StreamResponse:
    """Answer with ``buffers``, one after the other, and return once the reader's side has taken them.

    The list is emptied: it is nobody's any more. ``headers`` are sent beside the type and the length. ``taken`` hears
    how many bytes each slice had once it was taken. A reader slower than ``deadline_seconds``, or
    hippy.transport.limits, allows is disconnected. Raises ConnectionResetError then, and when the reader hangs up.
    """
    total = sum(memoryview(buffer).nbytes for buffer in buffers)
    response = web.StreamResponse(headers={**(headers or {}), hdrs.CONTENT_TYPE: content_type})
    response.content_length = total
    if deadline_seconds is None:
        deadline_seconds = limits.deadline_seconds(total)
    failure = "the reader is too slow"
    try:
        async with asyncio.timeout(deadline_seconds):
            await response.prepare(request)
            await _write(response, buffers, taken)
            return response
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError as error:
        error.__traceback__ = None  # the future that was waited on keeps it, and it that future, among our frames
        failure = "the reader hung up"
    finally:
        buffers.clear()
    raise ConnectionResetError(failure)  # out here it has no context: see the module's docstring


async def _write(response: web.StreamResponse, buffers: list[Buffer], taken: Callable[[int], None]) -> None:
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), SLICE_BYTES):
            part = view[start : start + SLICE_BYTES]
            await response.write(part)
            taken(len(part))
    await response.write_eof()
