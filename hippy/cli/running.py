"""Running a coroutine as a process: signals, the parent's death, the service manager, uvloop.

The first SIGINT or SIGTERM cancels the work, which then ends in its own order: requests under way finish, files are
closed. The second ends the process at once. A daemon that has not ended ``STOP_SECONDS`` after the first is ended too:
whatever it acknowledged is on disk, so that costs nothing but the answers under way.

Imported inside commands only; it needs asyncio.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from hippy.cli.notify import notify, watchdog_seconds

T = TypeVar("T")

PARENT_GRACE_SECONDS = 3.0
"""After the parent's death: time to stop by itself before the process is ended."""

STOP_SECONDS: Final = 30.0
"""From the first signal to the end of a daemon. A server waits for requests under way (hippy.transport.limits), then
databases are closed; deploy's units give a little more."""

WATCHDOG_SHARE: Final = 0.5
"""Of the time in which the watchdog wants to hear of us."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on uvloop; SIGINT and SIGTERM cancel it and raise KeyboardInterrupt.

    A second signal ends the process at once, with 128 and its number.
    """
    return _run(work, stopping=lambda: None)


def run_daemon(work: Coroutine[Any, Any, None], *, with_parent: bool) -> None:
    """Run a server until SIGINT or SIGTERM, which are its normal end; with_parent, or until stdin closes.

    The service manager, if there is one, is told when the end begins, and all along that the event loop turns.
    """
    if with_parent:
        threading.Thread(target=_stop_with_parent, name="hippy-parent", daemon=True).start()
    try:
        _run(_watched(work), stopping=_stopping)
    except KeyboardInterrupt:
        return


def _run(work: Coroutine[Any, Any, T], *, stopping: Callable[[], None]) -> T:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signal(work, stopping))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _until_signal(work: Coroutine[Any, Any, T], stopping: Callable[[], None]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop(number: int) -> None:
        nonlocal stopped
        if stopped:
            _end_now(128 + number)
        stopped = True
        stopping()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a closed loop would swallow them


def _stopping() -> None:
    """Tell the manager that the end has begun, and bound it, in a thread: the loop may be what hangs."""
    notify("STOPPING=1")
    ending = threading.Timer(STOP_SECONDS, _give_up)
    ending.daemon = True
    ending.start()


def _give_up() -> None:
    with suppress(OSError):
        print(f"error: not stopped within {STOP_SECONDS:.0f} s, ended", file=sys.stderr, flush=True)
    _end_now(1)


def _end_now(code: int) -> None:
    """End this process without another step: what was acknowledged is on disk (docs/ARCHITECTURE.md)."""
    os._exit(code)


async def _watched(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` while the watchdog, where there is one, hears that the loop turns."""
    seconds = watchdog_seconds()
    if seconds is None:
        return await work
    telling = asyncio.create_task(_tell_watchdog(seconds * WATCHDOG_SHARE))
    try:
        return await work
    finally:
        telling.cancel()


async def _tell_watchdog(pause_seconds: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(pause_seconds)


def _stop_with_parent() -> None:
    """Wait for the end of standard input, which is a pipe that the parent holds open while it lives."""
    while os.read(0, 4096):  # not sys.stdin: a thread inside it aborts an interpreter that ends
        pass
    threading.Timer(PARENT_GRACE_SECONDS, os._exit, args=(1,)).start()
    os.kill(os.getpid(), signal.SIGTERM)
