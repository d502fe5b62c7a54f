"""Ordered key-value state with durable transactions, over RocksDB (hippy.rocks).

The seam is :class:`Database`: a function reads and writes through a :class:`Transaction`; when ``transact``
returns, its writes are on disk, all of them or (if the function raised) none. Functions run one after the other
in one writer thread, so a read inside a transaction is exact; waiting transactions share one synced write
(group commit). hippy.testing.kv has the in-memory twin and the contract suite.

Invariants: keys and values are bytes; keys sort bytewise; a failed transaction leaves no trace.

After a refused write the writer thread opens the database again by itself (hippy.rocks says why, and what becomes of
the refused batch): at once, and then ahead of a later transaction, but not more often than every
:data:`REOPEN_SECONDS`; without one, every :data:`UNASKED_SECONDS`, since readers may be waiting. Until then all is read
as it was acknowledged, transactions that write are refused with the same error, and those that write nothing are
answered; where closing succeeded and opening did not, there is nothing to read either.

Example::

    async with open_database(data_dir / "index") as database:
        await database.transact(lambda state: state.put(b"key", b"value"))
        value = await database.read(lambda state: state.get(b"key"))
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from heapq import merge
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from hippy.errors import ConfigError, TemporaryError
from hippy.points import reached
from hippy.rocks import Rocks, open_rocks

log = logging.getLogger("hippy.kv")

T = TypeVar("T")
GROUP_MAX: Final = 256
"""Transactions that share one synced write; bounds the wait of the first of them."""

QUEUE_MAX: Final = 4096

REOPEN_SECONDS: Final = 1.0
"""After a refused write the database is opened again at most this often: readers wait meanwhile, up to a second."""

UNASKED_SECONDS: Final = 5.0
"""It is tried so often while nobody writes."""


class Reader(Protocol):
    """A view of the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values below ``prefix`` in order, beginning behind the key ``after``."""


class Transaction(Reader, Protocol):
    """A view that includes this transaction's own writes, and takes more."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""


class Database(Protocol):
    """Durable state of one node."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` alone, make its writes durable, return its result. What ``work`` raises, this raises."""

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run ``work`` on one unchanging view of the newest state, off the event loop, beside other readers."""


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[RocksDatabase]:
    """Open (or create) the database in the directory ``path``.

    Raises ConfigError when another process has it open or it cannot be read.
    """
    database = RocksDatabase(await asyncio.to_thread(open_rocks, path))
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


class RocksDatabase:
    """Database over one RocksDB directory; made by :func:`open_database`."""

    def __init__(self, rocks: Rocks) -> None:
        self._rocks = rocks
        self._refused: _Refused | None = None  # the writer thread's
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_MAX)
        self._gate = threading.Lock()  # no job may get in line behind the end mark, where nobody would answer it
        self._closed = False
        self._writer = threading.Thread(target=self._write_loop, name="hippy-kv", daemon=True)
        self._writer.start()

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See Database."""
        job = _Job(work, asyncio.get_running_loop())
        with self._gate:
            if self._closed:
                raise TemporaryError("the database is closed")
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise TemporaryError("too many writes are waiting", hint="try again in a moment") from None
        return cast(T, await job.done)

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See Database."""
        return await asyncio.to_thread(self._read, work)

    def _read(self, work: Callable[[Reader], T]) -> T:
        with self._rocks.view() as view:
            return work(view)

    def close(self) -> None:
        """Finish waiting transactions and let go of the directory."""
        with self._gate:
            self._closed = True
        self._jobs.put(None)
        self._writer.join()
        self._rocks.close()

    def _write_loop(self) -> None:
        while (first := self._next()) is not None:
            group, closing = self._gather(first)
            self._write_group(group)
            if closing:
                return

    def _next(self) -> _Job | None:
        """Return the next job, None for the end; recover meanwhile if there is something to recover from."""
        while (refused := self._refused) is not None:
            try:
                return self._jobs.get(timeout=UNASKED_SECONDS)
            except queue.Empty:
                try:
                    self._recovered(refused)
                except Exception:  # the top of the thread, as in _write_group
                    log.exception("recovering from a refused write failed")
        return self._jobs.get()

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        group = [first]
        while len(group) < GROUP_MAX:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _write_group(self, group: list[_Job]) -> None:
        """Run a group over one overlay, write it synced, and only then answer anybody."""
        try:
            if self._refused is not None and not self._recovered(self._refused):
                self._run_without_writing(group, self._refused.failure)
            else:
                self._run_and_write(group)
        except Exception as error:  # the top of the thread: had it ended, all would wait for ever
            log.exception("a group of transactions failed")
            for job in group:
                job.fail(error)
        for job in group:
            job.answer()

    def _run_and_write(self, group: list[_Job]) -> None:
        with self._rocks.view() as view:
            state = Overlay(view)
            for job in group:
                job.run(state)
            if not state.changes:
                return
            failure = self._refusal(state)
        if failure is not None:
            for job in group:
                job.fail(failure)
            self._refused = _Refused(failure, list(state.changes))
            self._recovered(self._refused)

    def _refusal(self, state: Overlay) -> TemporaryError | None:
        try:
            self._write(state)
        except TemporaryError as error:
            return error
        return None

    def _run_without_writing(self, group: list[_Job], failure: TemporaryError) -> None:
        """Answer the transactions that write nothing, and refuse the others, while there is nowhere to write."""
        with self._rocks.view() as view:
            for job in group:
                state = Overlay(view)
                job.run(state)
                if state.changes:
                    job.fail(failure)

    def _recovered(self, refused: _Refused) -> bool:
        """Open the database again if that is due and may succeed; returns whether it takes writes again."""
        if time.monotonic() < refused.next_try or not self._rocks.has_room():
            return False
        try:
            self._rocks.reopen(refused.keys)
        except (ConfigError, TemporaryError) as error:
            log.error("the database could not be opened again: %s", error)
            return False
        finally:
            refused.next_try = time.monotonic() + REOPEN_SECONDS
        log.warning("the database was opened again after a refused write")
        self._refused = None
        return True

    def _write(self, state: Overlay) -> None:
        reached("kv.before_batch")
        self._rocks.write(state.changes)
        reached("kv.batch")


class _Refused:
    """A write that RocksDB did not take: what that is called, which keys it had, when to open again."""

    def __init__(self, failure: TemporaryError, keys: Collection[bytes]) -> None:
        self.failure = failure
        self.keys = keys
        self.next_try = 0.0


class _Job:
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


class Overlay:
    """A transaction's writes over a reader: sees both, changes only itself. None marks a deletion."""

    def __init__(self, below: Reader) -> None:
        self._below = below
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        return self.changes[key] if key in self.changes else self._below.get(key)

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See Reader. What is written while it runs, it does not show."""
        own = {
            key: value
            for key, value in self.changes.items()
            if key.startswith(prefix) and (after is None or key > after)
        }
        kept = ((key, value) for key, value in self._below.scan(prefix, after) if key not in own)
        written = sorted((key, value) for key, value in own.items() if value is not None)
        return merge(kept, written)

    def put(self, key: bytes, value: bytes) -> None:
        """See Transaction."""
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """See Transaction."""
        self.changes[key] = None
