"""An event loop without a machine below it: time jumps, threads are turns, and one seed gives one run.

:class:`SimulatedLoop` is asyncio's own loop with what it stands on replaced. When nothing is ready, time moves to
the next timer at once: an hour passes in microseconds. Work given to threads runs in the loop, after a short time that
the seed draws. Sockets lead through a :class:`hippy.testing.network.Network`, so aiohttp's client and server
talk to each other in memory, and the code under test is the code that runs in production.

Everything that runs belongs to a :class:`Process`, which :meth:`SimulatedLoop.kill` ends as kill -9 ends a real
one: from that instant nothing it does reaches anybody. Its tasks are cancelled so that nothing of it is left over;
what they still do on their way out goes to sockets that are cut and, by the caller's care, to disks that nobody reads.

Invariants: the order of events follows from the seed alone (tasks have hashes of their own, so that sets of them are
walked in the order in which they began); a wait that nothing can end is an error, not a hang.

>>> async def nap() -> float:
...     await asyncio.sleep(3600)
...     return asyncio.get_running_loop().time()
>>> run_simulated(nap(), seed=1)
3600.0
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, Final, TypeVar, TypeVarTuple

from hippy.testing.clock import START_SECONDS
from hippy.testing.crash import MachineDown
from hippy.testing.network import Address, Network

THREAD_SECONDS: Final = 0.002
"""Work in threads takes up to this long: enough for anything else to come first."""

UNWIND_TURNS: Final = 10_000

T = TypeVar("T")
_Args = TypeVarTuple("_Args")


class Killed(BaseException):
    """A simulated process ends here; only the loop catches it."""


class Process:
    """What is killed together: tasks, timers, sockets. ``slow_seconds`` is added to each visit to a thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.slow_seconds = 0.0
        self.tasks: set[asyncio.Task[Any]] = set()
        """All that run; held, for asyncio itself forgets a task that nobody else knows of."""

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.is_alive else ', dead'}>"


OUTSIDE: Final = Process("the test")
"""What belongs to no simulated process."""

_PROCESS: Final[ContextVar[Process]] = ContextVar("simulated process", default=OUTSIDE)


def current_process() -> Process:
    """Return the process that the running code belongs to."""
    return _PROCESS.get()


class LoopClock:
    """A hippy.clock.Clock that follows the running loop's time."""

    def now(self) -> float:
        """Return Unix seconds."""
        return START_SECONDS + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await asyncio.sleep(seconds)


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module's docstring."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.network = Network(self, rng)
        self.errors: list[str] = []
        """What nobody caught, outside of processes that were killed."""

        self._clock_resolution = 1e-9
        self._selector = _Jump(self)
        self._now = 0.0
        self._tasks_begun = count()
        self._dialled: dict[int, Address] = {}
        self.set_task_factory(self._begin)
        self.set_exception_handler(_note_error)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def start(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a task of ``process``; tasks and callbacks that come from it belong to it too."""
        context = copy_context()
        context.run(_PROCESS.set, process)
        return self.create_task(work, context=context)

    def kill(self, process: Process) -> None:
        """End a process now; harmless twice."""
        if process.is_alive:
            process.is_alive = False
            self.network.cut(process)
            for task in sorted(process.tasks, key=hash):
                task.cancel()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Args], T], *args: *_Args
    ) -> asyncio.Future[T]:
        """Run the work here, a little later; of a process that is dead by then, never."""
        process = current_process()
        future: asyncio.Future[T] = self.create_future()
        delay = self.rng.random() * (THREAD_SECONDS + process.slow_seconds)
        self.call_later(delay, _work, process, future, lambda: func(*args), context=copy_context())
        return future

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Note where a socket leads; raises ConnectionRefusedError where nobody listens."""
        await self.network.dial(address[:2], current_process())
        self._dialled[sock.fileno()] = address[:2]

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Connect a socket that :meth:`sock_connect` was told of."""
        sock: socket.socket = options["sock"]
        address = self._dialled.pop(sock.fileno())
        sock.close()
        return self.network.connect(args[0], address, current_process())

    async def create_server(self, *args: Any, **options: Any) -> Any:
        """Listen at a host and a port; port 0 takes one that is free."""
        return self.network.listen(args[0], (args[1], args[2]), current_process())

    def _begin(self, _: asyncio.AbstractEventLoop, work: Any, context: Context | None = None) -> asyncio.Task[Any]:
        task = _Task(work, loop=self, context=context)
        task.number = next(self._tasks_begun)
        process = (context or copy_context()).get(_PROCESS, OUTSIDE)
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if not process.is_alive:
            task.cancel()
        return task

    def _process_events(self, _: object) -> None:
        """There are none: whatever happens is a timer or a callback."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken: there is one thread."""


class _Task(asyncio.Task[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Jump:
    """In the place of a selector: instead of waiting it moves the time."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> None:
        """Let ``timeout`` seconds pass."""
        if timeout is None:
            raise RuntimeError(f"nothing will ever happen; waiting: {asyncio.all_tasks(self._loop)}")
        self._loop._now += timeout


def _work(process: Process, future: asyncio.Future[Any], work: Callable[[], Any]) -> None:
    """Do what a thread does: a thread that nobody waits for any more goes on, that of a dead process does not begin."""
    if not process.is_alive:
        future.cancel()
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the work, as a thread does
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more
    else:
        if not future.done():
            future.set_result(result)


def _note_error(loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
    assert isinstance(loop, SimulatedLoop)
    error = told.get("exception")
    if current_process().is_alive and not (isinstance(error, BaseException) and _is_death(error)):
        loop.errors.append(f"{told.get('message')}: {error!r}")


def _is_death(error: BaseException) -> bool:
    """Return whether an error is of a process that was killed, whatever it is wrapped in."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_death(one) for one in error.exceptions)
    return isinstance(error, Killed | MachineDown)


def run_simulated(work: Coroutine[Any, Any, T], *, seed: int | str) -> T:
    """Run ``work`` to its end in a loop of its own, then end everything that it left running."""
    loop = SimulatedLoop(random.Random(f"loop {seed}"))  # noqa: S311 - repeatable chance is the purpose
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_unwind())
        loop.close()


async def _unwind() -> None:
    me = asyncio.current_task()
    for _ in range(UNWIND_TURNS):
        left = sorted((task for task in asyncio.all_tasks() if task is not me), key=hash)
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.sleep(0.001)
    raise RuntimeError("tasks do not end when they are cancelled")
