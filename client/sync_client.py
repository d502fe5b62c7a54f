"""``Client``: the blocking face of AsyncClient, by one mechanism and without a copy of any logic.

An event loop runs in a thread of its own and owns the AsyncClient; a method call here is a coroutine over there. The
loop starts at the first call. A forked child and an unpickled copy share nothing with their parent: they notice,
and open a connection of their own at their first call.

Example::

    with Client() as client:
        client.put("model.bin", "hippy://models/v1/model.bin")
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

from hippy.client.profiles import AUTO
from hippy.client.sdk import AsyncClient
from hippy.errors import UsageError

if TYPE_CHECKING:
    from hippy.client.home import Credentials
    from hippy.client.progress import Progress

INTERRUPT_SECONDS: Final = 5.0
"""How long an interrupted call may take to put things in order."""

P = ParamSpec("P")
R = TypeVar("R")


class _Runner:
    """A thread with an event loop and, in it, an open client."""

    def __init__(self, open_client: Callable[[], Any]) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hippy-client", daemon=True)
        self._thread.start()
        self._context = open_client()
        try:
            self.client: AsyncClient = self.run(self._context.__aenter__())
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine in the loop and wait for it; whoever is interrupted here cancels it and waits for its end."""
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_tell(work, ended), self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(INTERRUPT_SECONDS)
            raise

    def close(self) -> None:
        """Close the client and end the thread."""
        try:
            self.run(self._context.__aexit__(None, None, None))
        finally:
            self._stop()

    def _stop(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _tell(work: Coroutine[Any, Any, R], ended: threading.Event) -> R:
    try:
        return await work
    finally:
        ended.set()


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._call(method, *args, **kwargs)

    return call


class Client:
    """A client of one account that blocks. Usable from several threads, picklable, fork-safe."""

    def __init__(
        self, credentials: Credentials | None = None, *, profile: str = AUTO, progress: Progress | None = None
    ) -> None:
        self._credentials = credentials
        self._profile = profile
        self._progress = progress
        self._runner: _Runner | None = None
        self._inherited: _Runner | None = None
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections; a later call opens them again."""
        runner, self._runner = self._runner, None
        if runner is not None and runner.process == os.getpid():
            runner.close()

    def __getstate__(self) -> dict[str, Any]:
        if self._credentials is not None:
            raise UsageError(
                "a Client with credentials of its own is not pickled: they hold a secret",
                hint="use Client(), which finds the login's credentials where it is unpickled",
            )
        return {"profile": self._profile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(profile=state["profile"])  # type: ignore[misc]

    def _open(self) -> _Runner:
        if self._runner is None or self._runner.process != os.getpid():
            if self._runner is not None:
                self._inherited = self._runner  # kept, so that nothing of the parent's is closed here
                self._starting = threading.Lock()  # the parent's may have been held when it forked
            with self._starting:
                if self._runner is None or self._runner.process != os.getpid():
                    self._runner = _Runner(
                        functools.partial(
                            AsyncClient.open, self._credentials, profile=self._profile, progress=self._progress
                        )
                    )
        return self._runner

    put = _blocking(AsyncClient.put)
    put_dir = _blocking(AsyncClient.put_dir)
    get = _blocking(AsyncClient.get)
    get_file = _blocking(AsyncClient.get_file)
    get_to = _blocking(AsyncClient.get_to)
    get_range = _blocking(AsyncClient.get_range)
    get_dir = _blocking(AsyncClient.get_dir)
    list = _blocking(AsyncClient.list)
    head = _blocking(AsyncClient.head)
    glob = _blocking(AsyncClient.glob)
    get_glob = _blocking(AsyncClient.get_glob)
    plan_get = _blocking(AsyncClient.plan_get)
    find = _blocking(AsyncClient.find)
    du = _blocking(AsyncClient.du)
    check = _blocking(AsyncClient.check)
    check_many = _blocking(AsyncClient.check_many)
    delete = _blocking(AsyncClient.delete)
    delete_many = _blocking(AsyncClient.delete_many)
    copy = _blocking(AsyncClient.copy)
    move = _blocking(AsyncClient.move)
    plan_copy = _blocking(AsyncClient.plan_copy)
    copy_planned = _blocking(AsyncClient.copy_planned)
    buckets = _blocking(AsyncClient.buckets)
    create_bucket = _blocking(AsyncClient.create_bucket)
    delete_bucket = _blocking(AsyncClient.delete_bucket)
    whoami = _blocking(AsyncClient.whoami)
    profile = _blocking(AsyncClient.profile)

    def _call(
        self, method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        runner = self._open()
        return runner.run(method(runner.client, *args, **kwargs))
