"""Transactions that wait together share one durable write: one thread runs them, one after the other.

Owns the line, the thread and the answers; how a group is run and written is the database's to say (:class:`Group` in
hippy.kv and hippy.postgres). Invariants: a transaction is answered once, after its write or its failure, in the event
loop that asked; what raised leaves no trace; the line has an end, beyond which everybody is refused at once.

Example, in a database::

    self._commits = GroupCommit(self)                  # its commit() is called with groups, in the thread
    return await self._commits.transact(work)
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar, cast

from hippy.errors import TemporaryError
from hippy.transactions import Overlay, Transaction

log = logging.getLogger("hippy.kv")

T = TypeVar("T")

GROUP_MAX: Final = 256
"""Transactions that share one synced write; bounds the wait of the first of them."""

QUEUE_MAX: Final = 4096


class Committer(Protocol):
    """What runs and writes groups, in the thread of a GroupCommit."""

    def commit(self, group: Sequence[Job]) -> None:
        """Run the jobs in order and make what they wrote durable; mark those that were not written as failed."""

    def idle_seconds(self) -> float | None:
        """Return after how long without a transaction :meth:`idle` is due; None: it is not."""

    def idle(self) -> None:
        """Do what is due while nobody writes."""


class Job:
    """One transaction on its way through the writer thread."""

    def __init__(self, work: Callable[[Transaction], object], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._result: object = None
        self._error: BaseException | None = None
        self.done: asyncio.Future[object] = loop.create_future()

    def run(self, state: Overlay) -> None:
        """Run the work on a layer of its own, which is kept only when it did not raise."""
        layer = Overlay(state)
        try:
            self._result = self._work(layer)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the transaction
            self._error = error
        else:
            state.changes.update(layer.changes)

    def fail(self, error: BaseException) -> None:
        """Mark the transaction as not written, unless it had failed by itself."""
        self._error = self._error or error

    def answer(self) -> None:
        """Resolve the waiting future in its own loop."""
        self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.done.cancelled():
            return
        if self._error is not None:
            self.done.set_exception(self._error)
        else:
            self.done.set_result(self._result)


class GroupCommit:
    """The line of waiting transactions and the thread that takes them from it in groups."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._jobs: queue.Queue[Job | None] = queue.Queue(QUEUE_MAX)
        self._gate = threading.Lock()  # no job may get in line behind the end mark, where nobody would answer it
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="hippy-kv", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many transactions are in line."""
        return self._jobs.qsize()

    @property
    def closing(self) -> threading.Event:
        """Set when the database is being closed: whoever waits for the world in :meth:`Committer.commit` gives up."""
        return self._closing

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database."""
        job = Job(work, asyncio.get_running_loop())
        with self._gate:
            if self._closing.is_set():
                raise TemporaryError("the database is closed")
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise TemporaryError("too many writes are waiting", hint="try again in a moment") from None
        return cast(T, await job.done)

    def close(self) -> None:
        """Finish waiting transactions and end the thread. Blocking."""
        with self._gate:
            self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def refuse_waiting(self, error: TemporaryError) -> None:
        """Fail what is in line now; for a committer that cannot say how long it will take."""
        refused, closing = self._gather()
        for job in refused:
            job.fail(error)
        _answer(refused)
        if closing:
            self._jobs.put(None)

    def _loop(self) -> None:
        while (first := self._next()) is not None:
            rest, closing = self._gather(GROUP_MAX - 1)
            self._commit([first, *rest])
            if closing:
                return

    def _next(self) -> Job | None:
        """Return the next job, None for the end."""
        while (seconds := self._committer.idle_seconds()) is not None:
            try:
                return self._jobs.get(timeout=seconds)
            except queue.Empty:
                try:
                    self._committer.idle()
                except Exception:  # the top of the thread: had it ended, all would wait for ever
                    log.exception("what the database does while nobody writes has failed")
        return self._jobs.get()

    def _gather(self, limit: int = QUEUE_MAX) -> tuple[list[Job], bool]:
        """Take what is in line, and say whether the end mark was met."""
        found = list[Job]()
        while len(found) < limit:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return found, True
            found.append(job)
        return found, False

    def _commit(self, group: Sequence[Job]) -> None:
        """Have a group written, and only then answer anybody."""
        try:
            self._committer.commit(group)
        except Exception as error:  # the top of the thread: had it ended, all would wait for ever
            log.exception("a group of transactions failed")
            for job in group:
                job.fail(error)
        _answer(group)


def _answer(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.answer()
