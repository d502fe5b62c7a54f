"""Work beside serving: tasks with an owner, which outlive their errors.

Example::

    async with background(reporter.run(), repeat(store.keep_ballast, 10.0, clock, "the ballast was not looked after")):
        ...
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hippy.clock import Clock
from hippy.errors import HippyError

log = logging.getLogger("hippy.miner")


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines that never end for the duration of the block.

    No TaskGroup here: it would wrap the errors of the block, which a node's caller knows by their class.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(work: Callable[[], Awaitable[object]], pause_seconds: float, clock: Clock, what_failed: str) -> None:
    """Do some work again and again, until cancelled, with pauses between; an error is told and ends nothing."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
            complain(error, what_failed)
        await clock.sleep(pause_seconds)


def complain(error: Exception, what_failed: str) -> None:
    """Log the error of a background task: those we know by their message, others with all there is."""
    if isinstance(error, HippyError):
        log.warning("%s: %s", what_failed, error)
    else:
        log.error("%s, unexpectedly", what_failed, exc_info=error)
