"""Ordered key-value state with durable transactions: the seam, and its embedded implementation over RocksDB.

The seam is :class:`Database`: a function reads and writes through a :class:`Transaction`; when ``transact``
returns, its writes are on disk, all of them or (if the function raised) none. Functions run one after the other
in one writer thread, so a read inside a transaction is exact; waiting transactions share one synced write
(hippy.group_commit). hippy.postgres keeps the same contract on a server that several processes share; hippy.testing.kv
has the in-memory twin and the contract suite.

Invariants: keys and values are bytes; keys sort bytewise; a failed transaction leaves no trace.

**Leases** share out work: the rows below a key prefix are a queue in the order of their keys (of up to 1 KiB), and
:meth:`Database.lease` gives entries of it to one worker for a while. A lease keeps other workers from an entry and
nothing else: transactions do not see it, it may run out under a worker, and an embedded database forgets it with its
process. So whoever has worked on an entry looks in its transaction whether the entry is still there, and removes it in
the same one.

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
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

from hippy.errors import ConfigError, TemporaryError
from hippy.group_commit import GroupCommit, Job
from hippy.points import reached
from hippy.rocks import Rocks, open_rocks
from hippy.transactions import Overlay, Reader, Transaction
from hippy.work_leases import WorkLeases, check_lease

__all__ = ["Database", "Overlay", "Reader", "RocksDatabase", "Transaction", "open_database"]

log = logging.getLogger("hippy.kv")

T = TypeVar("T")

REOPEN_SECONDS: Final = 1.0
"""After a refused write the database is opened again at most this often: readers wait meanwhile, up to a second."""

UNASKED_SECONDS: Final = 5.0
"""It is tried so often while nobody writes."""


class Database(Protocol):
    """Durable state of one node."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` alone, make its writes durable, return its result. What ``work`` raises, this raises."""

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run ``work`` on one unchanging view of the newest state, off the event loop, beside other readers."""

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Lease the first entries below the prefix ``queue`` that nobody has a lease of at ``now``, in key order.

        They are ``holder``'s until ``now + seconds``; the holder itself does not get them again before. At most
        ``limit``, and fewer than there are where others take some at the same moment. Raises UsageError for limits
        that hippy.work_leases does not allow.
        """

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """Make leases of ``holder`` last until ``now + seconds``; returns the keys of those that had not run out."""

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """End leases of ``holder``: others may have the entries at once. What it does not hold is left alone."""


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
        self._leases = WorkLeases()
        self._leasing = threading.Lock()
        self._commits = GroupCommit(self)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See Database."""
        return await self._commits.transact(work)

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See Database."""
        return await asyncio.to_thread(self._read, work)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See Database."""
        check_lease(holder, seconds=seconds, limit=limit)

        def take(reader: Reader) -> list[tuple[bytes, bytes]]:
            with self._leasing:
                return self._leases.take(reader.scan(queue), holder, now=now, seconds=seconds, limit=limit)

        return await self.read(take)

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See Database."""
        check_lease(holder, seconds=seconds, limit=max(1, len(keys)))
        with self._leasing:
            return self._leases.renew(keys, holder, now=now, seconds=seconds)

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See Database."""
        with self._leasing:
            self._leases.give_back(keys, holder)

    def _read(self, work: Callable[[Reader], T]) -> T:
        with self._rocks.view() as view:
            return work(view)

    def close(self) -> None:
        """Finish waiting transactions and let go of the directory."""
        self._commits.close()
        self._rocks.close()

    def idle_seconds(self) -> float | None:
        """See hippy.group_commit.Committer: there is something to recover from, or there is not."""
        return None if self._refused is None else UNASKED_SECONDS

    def idle(self) -> None:
        """See hippy.group_commit.Committer."""
        if self._refused is not None:
            self._recovered(self._refused)

    def commit(self, group: Sequence[Job]) -> None:
        """Run a group over one overlay and write it synced. See hippy.group_commit.Committer."""
        if self._refused is not None and not self._recovered(self._refused):
            self._run_without_writing(group, self._refused.failure)
        else:
            self._run_and_write(group)

    def _run_and_write(self, group: Sequence[Job]) -> None:
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

    def _run_without_writing(self, group: Sequence[Job], failure: TemporaryError) -> None:
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
