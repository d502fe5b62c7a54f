"""Running a coroutine as a process: signals, the parent's death, uvloop.

Imported inside commands only; it needs asyncio.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PARENT_GRACE_SECONDS = 3.0
"""After the parent's death: time to stop by itself before the process is ended."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on uvloop; SIGINT and SIGTERM cancel it and raise KeyboardInterrupt."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signal(work))


def run_daemon(work: Coroutine[Any, Any, None], *, with_parent: bool) -> None:
    """Run a server until SIGINT or SIGTERM, which are its normal end; with_parent, or until stdin closes."""
    if with_parent:
        threading.Thread(target=_stop_with_parent, name="hippy-parent", daemon=True).start()
    try:
        run(work)
    except KeyboardInterrupt:
        return


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a closed loop would swallow them


def _stop_with_parent() -> None:
    """Wait for the end of standard input, which is a pipe that the parent holds open while it lives."""
    while os.read(0, 4096):  # not sys.stdin: a thread inside it aborts an interpreter that ends
        pass
    threading.Timer(PARENT_GRACE_SECONDS, os._exit, args=(1,)).start()
    os.kill(os.getpid(), signal.SIGTERM)
