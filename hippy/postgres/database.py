"""State on a PostgreSQL server, for as many processes as share it: hippy.kv.Database over sessions.

Writers of all processes are serialised by one advisory lock, because a registry is one chain of records
(docs/adr/0013). A group of transactions (hippy.group_commit) is one transaction of the server: lock, the functions,
one batched write, COMMIT. Reads run beside it, each on one snapshot, in a few threads with a connection each.

Invariants: what ``transact`` answered is durable by the server's log; what failed left nothing. A COMMIT whose answer
never came is looked up: every write carries the number of its batch in the row of this process, so a new connection
that holds the lock (then the old one's transaction is over) finds whether it happened. Until that is known the group is
not answered, and whoever else wants to write is told that the server is away. Nothing is ever written twice.

Example::

    async with open_postgres("postgresql:///hippy") as database:
        await database.transact(lambda state: state.put(b"key", b"value"))
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

from hippy.errors import HippyError, TemporaryError
from hippy.group_commit import GroupCommit, Job
from hippy.points import reached
from hippy.postgres import leases, schema
from hippy.postgres.session import Server, Session
from hippy.postgres.view import SHORT_KEY_BYTES, View
from hippy.transactions import Overlay, Reader, Transaction
from hippy.work_leases import check_lease

log = logging.getLogger("hippy.kv")

T = TypeVar("T")

READERS: Final = 8
"""Connections, and threads, that read; one more writes."""

WRITER_BYTES: Final = 16

SETTLE_PAUSE_SECONDS: Final = 0.5
"""Between two attempts to learn what became of a COMMIT."""

FORGET_SECONDS: Final = 60.0
"""How often leases of entries that are gone are removed, while entries are leased."""

BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN_WRITING: Final = f"BEGIN; SELECT pg_advisory_xact_lock({schema.LOCK_CLASS}, {schema.WRITERS_LOCK})"
COMMIT: Final = "SET LOCAL statement_timeout = 0; COMMIT"
"""Without a limit: PostgreSQL would end a wait for its replicas early, and say that it has committed."""

WRITE: Final = """
WITH gone AS (DELETE FROM hippy_row WHERE key = ANY($1::bytea[])),
kept AS (
    INSERT INTO hippy_row (key, value) SELECT * FROM unnest($2::bytea[], $3::bytea[])
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value
)
INSERT INTO hippy_writer (writer, batch) VALUES ($4, $5)
ON CONFLICT (writer) DO UPDATE SET batch = EXCLUDED.batch, written = now()"""

WRITE_LONG: Final = """
WITH gone AS (DELETE FROM hippy_long_row WHERE digest IN (SELECT sha256(key) FROM unnest($1::bytea[]) AS each (key)))
INSERT INTO hippy_long_row (digest, key, value)
SELECT sha256(each.key), each.key, each.value FROM unnest($2::bytea[], $3::bytea[]) AS each (key, value)
ON CONFLICT (digest) DO UPDATE SET value = EXCLUDED.value"""

LAST_BATCH: Final = "SELECT batch FROM hippy_writer WHERE writer = $1"


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[PostgresDatabase]:
    """Open the database at an address, and make or migrate its tables.

    Raises ConfigError when it cannot be used, TemporaryError when the server is away.
    """
    server = Server(url)
    session = Session(server)
    try:
        await asyncio.to_thread(schema.prepare, session)
    except BaseException:
        await asyncio.to_thread(session.close)
        raise
    server.is_starting = False
    database = PostgresDatabase(server, session)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


class PostgresDatabase:
    """Database on a PostgreSQL server; made by :func:`open_postgres`."""

    def __init__(self, server: Server, session: Session) -> None:
        """``session`` becomes the writer's."""
        self._server = server
        self._session = session
        self._writer = os.urandom(WRITER_BYTES)
        self._batch = 0
        self._idle = list[Session]()
        self._idle_lock = threading.Lock()
        self._is_closed = False
        self._forget_at = 0.0
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="hippy-read")
        self._commits = GroupCommit(self)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database."""
        return await self._commits.transact(work)

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See hippy.kv.Database."""

        def reading(session: Session) -> T:
            session.begin(BEGIN_READING)
            try:
                return work(View(session, keeps=False))
            finally:
                session.end()

        return await self._beside(reading)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See hippy.kv.Database."""
        check_lease(holder, seconds=seconds, limit=limit)

        def take(session: Session) -> list[tuple[bytes, bytes]]:
            if time.monotonic() >= self._forget_at:
                self._forget_at = time.monotonic() + FORGET_SECONDS
                leases.forget(session, now)
            return leases.take(session, queue, holder, now=now, seconds=seconds, limit=limit)

        return await self._beside(take)

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See hippy.kv.Database."""
        check_lease(holder, seconds=seconds, limit=max(1, len(keys)))
        return await self._beside(lambda session: leases.renew(session, keys, holder, now=now, seconds=seconds))

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See hippy.kv.Database."""
        await self._beside(lambda session: leases.give_back(session, keys, holder))

    def close(self) -> None:
        """Finish waiting transactions and reads, and let go of the connections. Blocking."""
        self._commits.close()
        with self._idle_lock:
            self._is_closed = True
        self._readers.shutdown()
        for session in [self._session, *self._idle]:
            session.close()

    async def _beside(self, work: Callable[[Session], T]) -> T:
        """Run something in one of the readers' threads, on a connection of its own."""
        with self._idle_lock:
            if self._is_closed:
                raise TemporaryError("the database is closed")
            future = self._readers.submit(self._with_session, work)
        return await asyncio.wrap_future(future)

    def _with_session(self, work: Callable[[Session], T]) -> T:
        with self._borrowed() as session:
            return work(session)

    @contextmanager
    def _borrowed(self) -> Iterator[Session]:
        with self._idle_lock:
            session = self._idle.pop() if self._idle else Session(self._server)
        try:
            yield session
        finally:
            with self._idle_lock:
                self._idle.append(session)

    def idle_seconds(self) -> float | None:
        """See hippy.group_commit.Committer: nothing is due."""
        return None

    def idle(self) -> None:
        """See hippy.group_commit.Committer."""

    def commit(self, group: Sequence[Job]) -> None:
        """Run a group in one transaction of the server. See hippy.group_commit.Committer."""
        failure = self._begin() or self._run(group)
        if failure is not None:
            for job in group:
                job.fail(failure)

    def _begin(self) -> HippyError | None:
        """Wait for the lock of all writers; returns why it is not had."""
        try:
            self._session.begin(BEGIN_WRITING)
        except HippyError as error:
            return error
        return None

    def _run(self, group: Sequence[Job]) -> HippyError | None:
        """Run the functions and write what they wrote; returns why it is not written."""
        state = Overlay(View(self._session, keeps=True))
        for job in group:
            job.run(state)
        if self._session.failure is not None:
            return self._session.failure  # whichever function noticed: the transaction is rolled back
        if not state.changes:
            self._session.end()
            return None
        return self._write(state.changes)

    def _write(self, changes: Mapping[bytes, bytes | None]) -> HippyError | None:
        reached("kv.before_batch")
        self._batch += 1
        try:
            self._send(changes)
        except HippyError as error:
            return error  # COMMIT was not said, so it is rolled back
        try:
            self._session.run(COMMIT)
        except HippyError as error:
            if not self._is_settled(error):
                return error
        reached("kv.batch")
        return None

    def _send(self, changes: Mapping[bytes, bytes | None]) -> None:
        short = {key: value for key, value in changes.items() if len(key) <= SHORT_KEY_BYTES}
        if len(short) < len(changes):
            self._session.rows(WRITE_LONG, *_columns({key: changes[key] for key in changes.keys() - short.keys()}))
        self._session.rows(WRITE, *_columns(short), self._writer, self._batch)

    def _is_settled(self, error: HippyError) -> bool:
        """Return whether the last batch was committed, however long it takes to learn that.

        Raises TemporaryError when the database is closed before: then nobody knows.
        """
        log.warning("it is not known whether batch %d was written; it is looked up", self._batch)
        while True:
            try:
                self._session.begin(BEGIN_WRITING)
                found = self._session.rows(LAST_BATCH, self._writer)
            except HippyError:
                self._commits.refuse_waiting(TemporaryError(error.message, hint=error.hint))
                if self._commits.closing.wait(SETTLE_PAUSE_SECONDS):
                    raise TemporaryError(
                        "the database server went away while it wrote: it is not known whether it did",
                        hint="look when the node runs again",
                    ) from None
            else:
                self._session.end()
                is_written = bool(found) and found[0]["batch"] == self._batch
                log.warning("batch %d was %s", self._batch, "written" if is_written else "not written")
                return is_written


def _columns(changes: Mapping[bytes, bytes | None]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return keys to delete, keys to set, and their values."""
    kept = [(key, value) for key, value in changes.items() if value is not None]
    gone = [key for key, value in changes.items() if value is None]
    return gone, [key for key, _ in kept], [value for _, value in kept]
