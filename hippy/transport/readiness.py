"""Whether a node can serve: checks, each with a deadline, made at most once in KEPT_SECONDS.

A check says what is wrong in words for an operator; one that fails or hangs says that. Which checks there are is the
role's to say, and the admin port's (hippy.transport.admin) to ask.

Example::

    reason = await reason_of(disk_check(data_dir))      # None: nothing keeps the node from serving
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, TypeVar

from hippy.clock import Clock
from hippy.errors import HippyError

CHECK_SECONDS: Final = 5.0
"""A check that takes longer says that something hangs."""

KEPT_SECONDS: Final = 2.0
"""How old an answer about readiness or a figure may be: shorter than any monitor asks, longer than a flood."""

Check = Callable[[], Awaitable[str | None]]
"""Returns why the node cannot serve, None when it can."""

T = TypeVar("T")


class Kept(Generic[T]):
    """Something that is gathered for whoever asks, at most once in KEPT_SECONDS."""

    def __init__(self, clock: Clock, gather: Callable[[], Awaitable[T]]) -> None:
        self._clock = clock
        self._gather = gather
        self._gathering = asyncio.Lock()
        self._last: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return what was gathered last, or gather it now."""
        async with self._gathering:
            last = self._last
            if last is None or not 0 <= self._clock.now() - last[0] < KEPT_SECONDS:
                value = await self._gather()
                last = self._last = self._clock.now(), value
            return last[1]

    def forget(self) -> None:
        """Gather anew when asked next."""
        self._last = None


async def reason_of(check: Check) -> str | None:
    """Return why a check keeps the node from serving; one that fails or hangs says so itself."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:.0f} s"
    except HippyError as error:
        return error.message


def disk_check(directory: Path) -> Check:
    """Return a check that a file can be written and synced in ``directory``."""

    async def check() -> str | None:
        return await asyncio.to_thread(_unwritable, directory)

    return check


def _unwritable(directory: Path) -> str | None:
    draft = directory / f".ready.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{directory} cannot be written: {error.strerror}"
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return None
