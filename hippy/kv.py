"""Ordered key-value state with durable transactions: the one module that knows RocksDB.

The seam is :class:`Database`: a function reads and writes through a :class:`Transaction`; when ``transact``
returns, its writes are on disk, all of them or (if the function raised) none. Functions run one after the other
in one writer thread, so a read inside a transaction is exact; waiting transactions share one synced write
(group commit). hippy.testing.kv has the in-memory twin and the contract suite.

Invariants: keys and values are bytes; keys sort bytewise; a failed transaction leaves no trace; after a disk-full
error the database says so until it is opened again (RocksDB keeps the error, reference: docs/adr/0003).
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from heapq import merge
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from hippy.errors import ConfigError, NoSpaceError, TemporaryError

log = logging.getLogger("hippy.kv")

T = TypeVar("T")
GROUP_MAX: Final = 256
"""Transactions that share one synced write; bounds the wait of the first of them."""

QUEUE_MAX: Final = 4096
MIB: Final = 1024 * 1024


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
    rocks = await asyncio.to_thread(_open, path)
    database = RocksDatabase(rocks)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


class RocksDatabase:
    """Database over one RocksDB directory; made by :func:`open_database`."""

    def __init__(self, rocks: Rdict) -> None:
        self._rocks = rocks
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
        return await asyncio.to_thread(lambda: work(_View(self._rocks)))

    def close(self) -> None:
        """Finish waiting transactions and let go of the directory."""
        with self._gate:
            self._closed = True
        self._jobs.put(None)
        self._writer.join()
        self._rocks.close()

    def _write_loop(self) -> None:
        while (first := self._jobs.get()) is not None:
            group, closing = self._gather(first)
            self._write_group(group)
            if closing:
                return

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
        state = Overlay(_View(self._rocks))
        for job in group:
            job.run(state)
        try:
            self._write(state)
        except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
            failure = _explain(error)
            for job in group:
                job.fail(failure)
        for job in group:
            job.answer()

    def _write(self, state: Overlay) -> None:
        if not state.changes:
            return
        batch = WriteBatch(raw_mode=True)
        for key, value in state.changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        options = WriteOptions()
        options.sync = True
        self._rocks.write(batch, write_opt=options)


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


class _View:
    """One unchanging state of a database: a single iterator, which sees what was there when it was made.

    A rocksdict snapshot would be the obvious thing, but its iterators see later writes (measured, 0.3.29).
    Not for several threads.
    """

    def __init__(self, rocks: Rdict) -> None:
        try:
            self._iterator = rocks.iter()
        except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
            raise _unreadable(error) from None
        self._seeks = 0

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        found = self._seek(key)
        return found[1] if found is not None and found[0] == key else None

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See Reader. The iterator may be moved between two steps: then this scan finds its place again."""
        found = self._seek(prefix if after is None else max(prefix, after + b"\x00"))
        mine = self._seeks
        while found is not None and found[0].startswith(prefix):
            yield found
            if self._seeks == mine:
                self._iterator.next()
                found = self._here()
            else:
                found = self._seek(found[0] + b"\x00")
                mine = self._seeks

    def _seek(self, key: bytes) -> tuple[bytes, bytes] | None:
        self._seeks += 1
        try:
            self._iterator.seek(key)
        except Exception as error:  # noqa: BLE001 - as above
            raise _unreadable(error) from None
        return self._here()

    def _here(self) -> tuple[bytes, bytes] | None:
        if self._iterator.valid():
            return cast(bytes, self._iterator.key()), cast(bytes, self._iterator.value())
        try:
            self._iterator.status()  # an iterator ends at a broken block as it does at the last key
        except Exception as error:  # noqa: BLE001 - as above
            raise _unreadable(error) from None
        return None


def _open(path: Path) -> Rdict:
    """Sizes keep a node small: measured 39 MiB for a million rows (reference figures in docs/adr/0003)."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(4 * MIB))
    table.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(4 * MIB)
    options.set_db_write_buffer_size(8 * MIB)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_block_based_table_factory(table)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_directory(path.parent)
        return Rdict(str(path), options, access_type=AccessType.read_write())
    except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
        if "lock file" in str(error) or "lock hold" in str(error):
            raise ConfigError(f"{path} is open in another process", hint="is this node running already?") from None
        raise ConfigError(f"cannot open the database {path}: {error}") from None


def _sync_directory(path: Path) -> None:
    """Make the database's own name durable: a power cut must not take the directory with all synced writes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: Exception) -> TemporaryError:
    log.error("the database did not take a write: %s", error)
    if "no space" in str(error).lower():
        return NoSpaceError("the disk is full", hint="free space, then restart this node")
    return TemporaryError("the database did not take a write", hint="the node's log says why; then restart it")


def _unreadable(error: Exception) -> TemporaryError:
    log.error("the database cannot be read: %s", error)
    return TemporaryError("the database cannot be read", hint="the node's log says why; its disk may be failing")
